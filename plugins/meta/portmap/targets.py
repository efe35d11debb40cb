"""Which ports go to which address: the configuration and prevResult, one target for each family."""

from typing import NamedTuple

from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.types.addresses import IPAddress, IPInterface
    from cnilib.types.result import IPConfig, Result
    from plugins.meta.portmap.config import Conf, PortMapping

VERSIONS = (4, 6)


class Forward(NamedTuple):
    """Ports of the host that lead to ports of the container; ``length`` of them in a row."""

    protocol: str
    host_port: int
    container_port: int
    length: int
    host_address: "IPAddress | None"

    @property
    def host_ports(self) -> str:
        """``8080``, or ``8080-8090`` for a range."""
        last = self.host_port + self.length - 1
        return f"{self.host_port}-{last}" if self.length > 1 else str(self.host_port)

    def singles(self) -> "list[Forward]":
        """The same, one port each."""
        return [
            self._replace(
                host_port=self.host_port + n, container_port=self.container_port + n, length=1
            )
            for n in range(self.length)
        ]


class Target(NamedTuple):
    """Everything to forward to one address of the container."""

    family: str
    address: "IPInterface"
    forwards: tuple[Forward, ...]
    conditions: tuple[str, ...]


def targets(conf: "Conf", result: "Result", ifname: str) -> list[Target]:
    """The IPv4 target, then the IPv6 one, of those that have a mapping.

    What fits no address is told on stderr: the reference plugin is silent, and its users search
    long.
    """
    found = []
    for version in VERSIONS:
        address = container_address(result, ifname, version)
        forwards = _forwards(conf.mappings, version)
        if address is None or not forwards:
            continue
        ipv4 = version == VERSIONS[0]
        conditions = conf.conditions_v4 if ipv4 else conf.conditions_v6
        found.append(Target("ip" if ipv4 else "ip6", address, forwards, conditions))
    versions = {target.address.version for target in found}
    for mapping in conf.mappings:
        if not any(mapping.fits(version) for version in versions):
            warn(
                f"portmap: host port {mapping.host_port}/{mapping.protocol} is not forwarded: "
                f"{ifname} has no address in prevResult that goes with its hostIP"
            )
    return found


def container_address(result: "Result", ifname: str, version: int) -> "IPInterface | None":
    """The first address of this IP version that belongs to the interface in the container."""
    for ip in result.ips:
        if ip.address.version == version and _is_of_container(result, ip, ifname):
            return ip.address
    return None


def _is_of_container(result: "Result", ip: "IPConfig", ifname: str) -> bool:
    """An address that names no interface, or one that does not exist, is taken on trust."""
    interface = result.interface_of(ip)
    return interface is None or (interface.name == ifname and bool(interface.sandbox))


def _forwards(mappings: "tuple[PortMapping, ...]", version: int) -> tuple[Forward, ...]:
    """Of two mappings of one configuration for the same port the first counts."""
    found: dict[tuple[object, ...], Forward] = {}
    for mapping in mappings:
        if mapping.fits(version):
            forward = Forward(
                mapping.protocol,
                mapping.host_port,
                mapping.container_port,
                mapping.length,
                mapping.host_address,
            )
            found.setdefault((forward.host_address, forward.protocol, forward.host_ports), forward)
    return tuple(found.values())
