"""static: answers the addresses, routes and DNS settings of the configuration or the runtime.

Keeps no state and touches neither a namespace nor the disk, so DEL has nothing to remove::

    {"cniVersion": "1.0.0", "name": "s", "type": "static",
     "ipam": {"addresses": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]}}

Later sources win over earlier ones: ``ipam.addresses``, then CNI_ARGS ``IP`` (added to them), then
``args.cni.ips`` and ``runtimeConfig.ips`` (each replaces all before it). Written after static.md.
"""

from typing import NamedTuple

from pydantic import Field, field_validator

from cnilib.errors import CheckFailed, ConfigError, EnvError
from cnilib.plugin import plugin
from cnilib.types.addresses import Cidr, OptionalIp, parse_cidr, parse_ip
from cnilib.types.base import Items, Model
from cnilib.types.config import NetConf
from cnilib.types.result import DNS, IPConfig, Result, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnilib.request import Request
    from cnilib.types.addresses import IPAddress, IPInterface
    from cnilib.undo import ErrorList, Undo


class AddressConf(Model):
    """One address to answer."""

    address: Cidr = Field(description="address with its prefix length")
    gateway: OptionalIp = Field(default=None, description="gateway of its subnet")


class StaticIpam(Model):
    """The ``ipam`` section."""

    addresses: Items[AddressConf] = Field(default=(), description="addresses to answer")
    routes: Items[Route] = Field(default=(), description="routes, copied to the result")
    dns: DNS = Field(default=DNS(), description="resolver settings, copied to the result")

    @field_validator("dns")
    @classmethod
    def _nameservers_are_addresses(cls, dns: DNS) -> DNS:
        for nameserver in dns.nameservers:
            parse_ip(nameserver)
        return dns


class Ips(Model):
    """Addresses that the runtime asks for."""

    ips: Items[Cidr] = Field(default=(), description="addresses that replace the configured ones")


class Args(Model):
    """The ``args`` section."""

    cni: Ips = Ips()


class Conf(NetConf):
    """What static reads of the network configuration."""

    ipam: StaticIpam  # type: ignore[assignment] # this is the IPAM plugin: the section is its own
    runtime_config: Ips = Ips()
    args: Args = Args()


class TeardownConf(NetConf):
    """DEL has nothing to release, so nothing in the section can stop it."""

    ipam: object = None  # type: ignore[assignment] # not looked at
    dns: object = None  # type: ignore[assignment] # not looked at


class _Assigned(NamedTuple):
    """An address that is going to be answered."""

    address: "IPInterface"
    gateway: "IPAddress | None"


def add(req: "Request", conf: Conf, _undo: "Undo") -> Result:
    """Answer the addresses in effect, with the configured routes and DNS settings."""
    return Result(
        ips=tuple(IPConfig(address=a.address, gateway=a.gateway) for a in _assigned(req, conf)),
        routes=conf.ipam.routes,
        dns=conf.ipam.dns,
    )


def delete(_req: "Request", _conf: NetConf, _errors: "ErrorList") -> None:
    """There is nothing to give back."""


def check(req: "Request", conf: Conf) -> None:
    """Every address in effect is in prevResult, with the gateway it should have."""
    present = {ip.address.ip: ip.gateway for ip in req.get_prev_result().ips}
    for address, gateway in _assigned(req, conf):
        if address.ip not in present:
            raise CheckFailed(f"address {address} is not among the addresses of prevResult")
        found = present[address.ip]
        if gateway is not None and gateway != found:
            raise CheckFailed(f"gateway of {address} is {found}, expected {gateway}")


def status(req: "Request", conf: Conf) -> None:
    """Validate what ADD would answer."""
    _assigned(req, conf)


def _assigned(req: "Request", conf: Conf) -> list[_Assigned]:
    configured = [_Assigned(entry.address, entry.gateway) for entry in conf.ipam.addresses]
    assigned = configured + _from_cni_args(req)
    for gateway in _gateways(req):
        assigned = [_with_gateway(entry, gateway) for entry in assigned]
    for requested in (conf.args.cni.ips, conf.runtime_config.ips):
        if requested:
            assigned = [_Assigned(address, None) for address in requested]
            for entry in configured:
                assigned = [_with_gateway(other, entry.gateway) for other in assigned]
    _refuse_duplicates(entry.address for entry in assigned)
    _refuse_several_in_old_versions(req.cni_version, [entry.address for entry in assigned])
    return assigned


def _with_gateway(entry: _Assigned, gateway: "IPAddress | None") -> _Assigned:
    """``entry``, with a gateway that lies in its subnet unless it has one of its own."""
    if gateway is None or entry.gateway is not None or gateway not in entry.address.network:
        return entry
    return entry._replace(gateway=gateway)


def _from_cni_args(req: "Request") -> list[_Assigned]:
    texts = req.cni_args({"IP", "GATEWAY"}).get("IP", "")
    try:
        return [_Assigned(parse_cidr(text.strip()), None) for text in _listed(texts)]
    except ValueError as error:
        raise EnvError(f"invalid IP in CNI_ARGS: {error}") from None


def _gateways(req: "Request") -> "list[IPAddress]":
    texts = req.cni_args({"IP", "GATEWAY"}).get("GATEWAY", "")
    try:
        return [parse_ip(text.strip()) for text in _listed(texts)]
    except ValueError as error:
        raise EnvError(f"invalid GATEWAY in CNI_ARGS: {error}") from None


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []


def _refuse_duplicates(addresses: "Iterable[IPInterface]") -> None:
    seen = set()
    for address in addresses:
        if address.ip in seen:
            raise ConfigError(f"address {address.ip} is given twice: remove one of them")
        seen.add(address.ip)


def _refuse_several_in_old_versions(version: str, addresses: "list[IPInterface]") -> None:
    """0.1.0 and 0.2.0 can tell one address of each family (protocol.md 5.1)."""
    if version not in {"0.1.0", "0.2.0"}:
        return
    for family in (4, 6):
        if sum(address.version == family for address in addresses) > 1:
            raise ConfigError(
                f"CNI version {version} does not support more than one IPv{family} address: "
                "use cniVersion 0.3.0 or later"
            )


main = plugin(
    "static", Conf, add=add, delete=delete, check=check, status=status, delete_conf=TeardownConf
)
