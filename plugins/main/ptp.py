"""ptp: a veth pair for each container, and pure layer 3: every packet goes through the host.

ADD makes the pair. With an ``ipam`` section the container gets its addresses and routes, all of
them by way of the host, whose end of the pair has the gateway's address and a host route to the
container; optionally the container's traffic is masqueraded. Without one it is just the pair::

    {"cniVersion": "1.0.0", "name": "n1", "type": "ptp", "ipMasq": true,
     "ipam": {"type": "host-local", "subnet": "10.30.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}

On the host it leaves the pair's end with address and routes, rules for ``ipMasq``, and forwarding
switched on. DEL removes all but the last.
"""

from ipaddress import ip_interface, ip_network
from itertools import islice

from pydantic import Field, field_validator

from cnilib import attach, ip_masq, veth
from cnilib.errors import CheckFailed, ConfigError
from cnilib.kernel.addresses import add_address, list_addresses
from cnilib.kernel.links import set_up
from cnilib.kernel.netns import Namespace
from cnilib.kernel.routes import add_route, list_routes, remove_route
from cnilib.kernel.sysctl import ensure_forwarding
from cnilib.mac import VethMacConf, wanted_veth_mac
from cnilib.plugin import plugin
from cnilib.request import check_interface_name
from cnilib.types.config import NetConf
from cnilib.types.result import Interface, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request
    from cnilib.types.addresses import IPAddress, IPNetwork
    from cnilib.types.result import IPConfig
    from cnilib.undo import ErrorList, Undo

_CONTAINER_INTERFACE = 1
"""Where the result has it: after the host's end (ptp.md 3, step 9)."""
_LARGEST_MTU = 2**31 - 1  # the kernel's own limit is lower
_SCOPE_LINK, _SCOPE_HOST = 253, 254  # linux/rtnetlink.h


class TeardownConf(NetConf):
    """What DEL and GC need. They never refuse a value."""

    ip_masq: bool = Field(
        default=False, description="masquerade what leaves the container's own subnet"
    )


class Conf(TeardownConf, VethMacConf):
    """The keys of ADD, CHECK and STATUS."""

    ip_masq_backend: str = Field(default="", description="iptables or nftables; empty: either")
    mtu: int = Field(
        default=0, le=_LARGEST_MTU, description="MTU of both ends of the pair; 0: 1500"
    )
    enabledad: bool = Field(
        default=False, description="keep IPv6 duplicate address detection on in the container"
    )
    host_interface_name: str = Field(
        default="", description="name of the host's end; empty: veth and 8 random hex digits"
    )

    @field_validator("host_interface_name")
    @classmethod
    def _is_link_name(cls, name: str) -> str:
        if name:
            check_interface_name(name)
        return name


def add(req: "Request", conf: Conf, undo: "Undo") -> Result:
    """Addresses from the IPAM plugin; the pair; then both its sides; then the result."""
    attach.require_reportable(req, conf.ipam.type)
    if conf.ip_masq and conf.ipam.type:
        ip_masq.require_backend(conf.ip_masq_backend)
    mac = wanted_veth_mac(req, conf, strict=False)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        result = Result(dns=conf.dns)
        if conf.ipam.type:
            result = _ask_ipam(req, conf, undo)
        end, link = veth.make_veth_pair(
            host,
            container,
            req.ifname,
            undo,
            mtu=conf.mtu,
            mac=mac,
            host_name=conf.host_interface_name,
        )
        if conf.ipam.type:
            _configure_container(req, conf, container, link, result)
            _configure_host(host, end, result)
        else:
            set_up(container, req.ifname)
        if conf.ip_masq and conf.ipam.type:
            addresses = [ip.address for ip in result.ips]
            ip_masq.masquerade(req.attachment, addresses, conf.ip_masq_backend, undo)
    interfaces = (
        Interface(name=end.name, mac=end.mac),
        Interface(name=req.ifname, mac=link.mac, sandbox=req.netns),
    )
    return result.model_copy(update={"interfaces": interfaces})


def _ask_ipam(req: "Request", conf: Conf, undo: "Undo") -> Result:
    """What the IPAM plugin gives, with a gateway for each address."""
    result = attach.add_ipam(req, conf.ipam.type, undo, _CONTAINER_INTERFACE)
    ips = tuple(_with_gateway(ip) for ip in result.ips)
    dns = attach.chosen_dns(conf.dns, result.dns)
    return result.model_copy(update={"ips": ips, "dns": dns})


def _with_gateway(ip: "IPConfig") -> "IPConfig":
    """Without one from the IPAM plugin the gateway is the first host of the subnet.

    Raises:
        ConfigError: the subnet has no other host, or its first is the container.
    """
    if ip.gateway is not None:
        return ip
    network = ip.address.network
    hosts = list(islice(network.hosts(), 2))
    point_to_point = network.prefixlen == network.max_prefixlen - 1  # RFC 3021, RFC 6164
    if point_to_point and ip.address.ip in hosts:
        hosts.remove(ip.address.ip)
    if not hosts or hosts[0] == ip.address.ip:
        raise ConfigError(
            f"the IPAM plugin gave {ip.address} without a gateway, and its subnet has no first "
            "address for the host: configure a gateway in ipam"
        )
    return ip.model_copy(update={"gateway": hosts[0]})


def _configure_container(
    req: "Request", conf: Conf, container: Namespace, link: "Link", result: Result
) -> None:
    """Addresses; then the gateways, on the link; then everything else by way of them."""
    veth.prepare_container_end(container, link.name, detect_duplicates=conf.enabledad)
    attach.add_addresses(container, link, result, req.deadline, detect_duplicates=conf.enabledad)
    for gateway, ip in _first_by_gateway(result).items():
        add_route(
            container,
            ip_network(gateway),
            oif=link.index,
            scope=_SCOPE_LINK if gateway.version == 4 else None,
            source=ip.address.ip,
        )
    attach.add_routes(container, link, result)
    for network, ip in _first_by_subnet(result).items():
        remove_route(container, network, oif=link.index)
        add_route(container, network, oif=link.index, gateway=ip.gateway, source=ip.address.ip)


def _first_by_gateway(result: Result) -> "dict[IPAddress, IPConfig]":
    """Each gateway with the first address that has it."""
    return {ip.gateway: ip for ip in reversed(result.ips) if ip.gateway is not None}


def _first_by_subnet(result: Result) -> "dict[IPNetwork, IPConfig]":
    """Each subnet that has more hosts than the container, with the first address in it."""
    subnets = {ip.address.network: ip for ip in reversed(result.ips)}
    return {net: ip for net, ip in subnets.items() if net.prefixlen < net.max_prefixlen}


def _configure_host(host: Namespace, end: "Link", result: Result) -> None:
    """The gateways' addresses on the host's end, and a route to each of the container's."""
    ensure_forwarding(host, sorted({ip.address.version for ip in result.ips}))
    for gateway in _first_by_gateway(result):
        add_address(host, end.index, ip_interface(gateway), nodad=True)
    for address in dict.fromkeys(ip.address.ip for ip in result.ips):
        scope = _SCOPE_HOST if address.version == 4 else None
        add_route(host, ip_network(address), oif=end.index, scope=scope)


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Everything of this attachment, whether or not its namespace still exists."""
    with errors:
        veth.remove_pair(req)
    attach.release_ipam(req, conf.ipam.type, errors)
    if conf.ip_masq:
        ip_masq.stop_masquerade(req.attachment, errors)


def check(req: "Request", conf: Conf) -> None:
    """Both ends, their addresses and routes are as the result says."""
    result = attach.begin_check(req, conf.ipam.type)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        interface = attach.get_container_interface(req, result)
        link = attach.check_link(container, interface, "veth")
        end = veth.check_host_end(host, result, link)
        attach.check_addresses(container, link, result)
        attach.check_routes(container, result)
        _check_host(host, end, result)


def _check_host(host: Namespace, end: "Link", result: Result) -> None:
    """Raises CheckFailed where the host's end lacks a gateway's address or a host route."""
    present = {address.interface.ip for address in list_addresses(host, end.index)}
    routed = {
        route.dst
        for version in {ip.address.version for ip in result.ips}
        for route in list_routes(host, family=version, oif=end.index)
    }
    for ip in result.ips:
        if ip.gateway is not None and ip.gateway not in present:
            raise CheckFailed(f"addresses of {end.name} on the host: expected {ip.gateway}")
        if ip_network(ip.address.ip) not in routed:
            raise CheckFailed(
                f"routes of the host: expected {ip.address.ip} by way of {end.name}, found none"
            )


def status(req: "Request", conf: Conf) -> None:
    """ADD can be served when the IPAM plugin can serve its part."""
    attach.forward_status(req, conf.ipam.type)


def gc(req: "Request", conf: TeardownConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Addresses and rules of attachments that no longer exist."""
    attach.forward_gc(req, conf.ipam.type, errors)
    if conf.ip_masq:
        ip_masq.collect_masquerade(req.network, valid, errors)


main = plugin(
    "ptp",
    Conf,
    add=add,
    delete=delete,
    check=check,
    status=status,
    gc=gc,
    delete_conf=TeardownConf,
)
