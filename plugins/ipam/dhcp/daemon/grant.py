"""What a server granted, whatever the protocol, and how it reads as a CNI result and as JSON."""

from ipaddress import ip_interface
from typing import NamedTuple

from plugins.ipam.dhcp.daemon.times import Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.types.addresses import IPAddress, IPInterface


class Grant(NamedTuple):
    """An address, who gave it, until when, and the settings that came along.

    ``server`` is the identifier the server wants to see again (an address, or a DUID in
    hexadecimal digits), ``server_mac`` where its answers came from ("" in DHCPv6). ``routes`` and
    ``dns`` are in the form of a CNI result.
    """

    address: "IPInterface"
    gateway: "IPAddress | None"
    routes: "list[dict[str, Any]]"
    dns: "dict[str, Any]"
    server: str
    server_mac: str
    times: Times

    def to_json(self) -> "dict[str, Any]":
        """For the store."""
        return self._asdict() | {
            "address": str(self.address),
            "gateway": str(self.gateway) if self.gateway else None,
            "times": list(self.times),
        }

    @classmethod
    def from_json(cls, document: "dict[str, Any]") -> "Grant":
        """What ``to_json`` wrote.

        Raises:
            ValueError, KeyError, TypeError: it was something else.
        """
        gateway = document["gateway"]
        return cls(
            **document
            | {
                "address": ip_interface(document["address"]),
                "gateway": ip_interface(gateway).ip if gateway else None,
                "times": Times(*(float(seconds) for seconds in document["times"])),
            }
        )


def result_of(grants: "list[Grant]") -> "dict[str, Any]":
    """The CNI result (1.1.0) of one grant for each family."""
    dns: dict[str, Any] = {"nameservers": [], "search": []}
    for grant in grants:
        for key in ("nameservers", "search"):
            fresh = [text for text in grant.dns.get(key, ()) if text not in dns[key]]
            dns[key].extend(fresh)
        dns.setdefault("domain", grant.dns["domain"]) if "domain" in grant.dns else None
    return {
        "ips": [
            {"address": str(grant.address), "gateway": str(grant.gateway or "")} for grant in grants
        ],
        "routes": [route for grant in grants for route in grant.routes],
        "dns": dns,
    }
