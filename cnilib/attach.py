"""What every main plugin does with the link it made in the container.

Addresses from the IPAM plugin, sysctls, the link up, duplicate address detection, routes; the
same things looked at again by CHECK; and the commands that are passed on to the IPAM plugin.
Nothing here has an undo of its own but the IPAM part: what is put on a link goes with the link.

``container`` is the namespace the link is in, ``link`` the link itself; both come from
``cnilib.kernel``.
"""

from cnilib.delegate import ipam_add, ipam_check, ipam_delete, ipam_gc, ipam_status
from cnilib.errors import CheckFailed, CniError, ConfigError, KernelError
from cnilib.kernel.addresses import add_address, list_addresses, wait_for_addresses
from cnilib.kernel.links import find_link, remove_link, set_up
from cnilib.kernel.netns import Namespace
from cnilib.kernel.routes import add_route, list_routes
from cnilib.kernel.sysctl import ensure_sysctl, read_sysctl, write_sysctl
from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.routes import RouteEntry
    from cnilib.request import Request
    from cnilib.types.addresses import IPAddress
    from cnilib.types.result import DNS, Interface, IPConfig, Result, Route
    from cnilib.undo import ErrorList, Undo

_ONE_ADDRESS_ONLY = frozenset({"0.1.0", "0.2.0"})
_SCOPE_UNIVERSE = 0


def require_reportable(req: "Request", ipam_type: str) -> None:
    """Refuse, before anything is made, an ADD whose result its cniVersion cannot express.

    Raises:
        CniError: 0.1.0 and 0.2.0 know addresses only, and without IPAM there will be none.
    """
    if not ipam_type and req.cni_version in _ONE_ADDRESS_ONLY:
        raise CniError(
            f"cannot convert the result to CNI version {req.cni_version}: no valid IP addresses "
            "(configure ipam, or a cniVersion from 0.3.0 on)"
        )


def requested_mac(candidates: "Iterable[tuple[str, str]]") -> str:
    """The first hardware address given, of (where it stands, text) pairs; "" when none is.

    Raises:
        ConfigError: it is no MAC address; the message says where it stands.
    """
    from cnilib.types.addresses import parse_mac

    for where, text in candidates:
        if text:
            try:
                return parse_mac(text)
            except ValueError as error:
                raise ConfigError(f"invalid {where}: {error}") from None
    return ""


def add_ipam(req: "Request", ipam_type: str, undo: "Undo", interface: int) -> "Result":
    """The addresses, routes and dns of the IPAM plugin, the addresses at index ``interface``.

    Its DEL is registered first. What it says about interfaces is dropped.

    Raises:
        DelegateError: what the IPAM plugin answered.
        CniError: it cannot be found, or gave no address.
    """
    result = ipam_add(req, ipam_type, undo)
    ips = tuple(ip.model_copy(update={"interface": interface}) for ip in result.ips)
    return result.model_copy(update={"ips": ips, "interfaces": ()})


def chosen_dns(configured: "DNS", from_ipam: "DNS") -> "DNS":
    """The configuration's dns section where it has anything, the IPAM plugin's otherwise."""
    return configured or from_ipam


def configure_link(
    container: "Namespace",
    link: "Link",
    result: "Result",
    deadline: float,
    *,
    detect_duplicates: bool = True,
) -> None:
    """Put the addresses of ``result`` on the link, bring it up and add the routes.

    Raises:
        KernelError: the kernel refused an address, a route or a needed sysctl.
        CniError: an IPv6 address is in use elsewhere.
    """
    add_addresses(container, link, result, deadline, detect_duplicates=detect_duplicates)
    add_routes(container, link, result)


def add_addresses(
    container: "Namespace",
    link: "Link",
    result: "Result",
    deadline: float,
    *,
    detect_duplicates: bool = True,
) -> None:
    """Put the addresses of ``result`` on the link and bring it up.

    Without ``detect_duplicates`` an IPv6 address is usable at once: on a segment where nobody but
    the host is, there is no second owner to wait for.

    Raises:
        KernelError: the kernel refused an address or a needed sysctl.
        CniError: an IPv6 address is in use elsewhere.
    """
    if any(ip.address.version == 6 for ip in result.ips):
        _allow_ipv6(container, link.name)
    for ip in result.ips:
        add_address(container, link.index, ip.address, nodad=not detect_duplicates)
    set_up(container, link.name)
    if any(ip.gateway is not None and ip.gateway.version == 6 for ip in result.ips):
        wait_for_addresses(container, link, deadline)


def add_routes(container: "Namespace", link: "Link", result: "Result") -> None:
    """Add the routes of ``result``: without a gateway of their own by that of the addresses.

    Raises:
        KernelError: the kernel refused one.
    """
    for route in result.routes:
        _add_route(container, link, route, _first_gateway(result.ips, route.dst.version))


def write_sysctl_if_possible(namespace: "Namespace", key: str, value: str) -> None:
    """Set a sysctl that is only an improvement: one that is missing or read-only is left alone."""
    try:
        write_sysctl(namespace, key, value)
    except KernelError:  # no IPv6, an older kernel, or /proc/sys of an unprivileged host
        return


def _allow_ipv6(container: "Namespace", ifname: str) -> None:
    """Runtimes switch IPv6 off in new namespaces; an address asks for it."""
    for name in ("lo", ifname):
        key = f"net/ipv6/conf/{name}/disable_ipv6"
        if read_sysctl(container, key) is None:
            warn(f"{key} cannot be read in {container.path}: the kernel has no IPv6?")
        else:
            ensure_sysctl(container, key, "0")
    write_sysctl_if_possible(container, f"net/ipv6/conf/{ifname}/keep_addr_on_down", "1")


def _first_gateway(ips: "Iterable[IPConfig]", version: int) -> "IPAddress | None":
    return next((ip.gateway for ip in ips if ip.gateway and ip.gateway.version == version), None)


def _add_route(
    container: "Namespace", link: "Link", route: "Route", gateway: "IPAddress | None"
) -> None:
    add_route(
        container,
        route.dst.network,
        oif=link.index,
        gateway=route.gw or gateway,
        priority=route.priority,
        table=route.table or 0,
        scope=_SCOPE_UNIVERSE if route.scope is None else route.scope,
        mtu=route.mtu,
        advmss=route.advmss,
    )


def remove_container_link(req: "Request") -> bool:
    """Delete CNI_IFNAME in the container; False when the namespace is gone.

    Raises:
        NetnsError: CNI_NETNS exists and is no namespace.
    """
    container = Namespace.find(req.netns)
    if container is None:
        return False
    with container:
        remove_link(container, req.ifname)
    return True


def release_ipam(req: "Request", ipam_type: str, errors: "ErrorList") -> None:
    """DEL: have the IPAM plugin release its addresses, whatever else has failed."""
    if ipam_type:
        with errors:
            ipam_delete(req, ipam_type)


def forward_status(req: "Request", ipam_type: str) -> None:
    """STATUS: whether the IPAM plugin, if there is one, could serve an ADD now."""
    if ipam_type:
        ipam_status(req, ipam_type)


def forward_gc(req: "Request", ipam_type: str, errors: "ErrorList") -> None:
    """GC: pass the list of valid attachments on to the IPAM plugin."""
    if ipam_type:
        with errors:
            ipam_gc(req, ipam_type)


def begin_check(req: "Request", ipam_type: str) -> "Result":
    """CHECK: the IPAM plugin's part first; then what ADD (and the chain) reported.

    Raises:
        ConfigError: there is no prevResult.
    """
    if ipam_type:
        ipam_check(req, ipam_type)
    if req.prev_result is None:
        raise ConfigError("Required prevResult missing: CHECK compares with the result of ADD")
    return req.prev_result


def get_container_interface(req: "Request", result: "Result") -> "Interface":
    """The interface of the result that is CNI_IFNAME in CNI_NETNS.

    Raises:
        CheckFailed: the result has none.
    """
    named = [interface for interface in result.interfaces if interface.name == req.ifname]
    for interface in named:
        if interface.sandbox == req.netns:
            return interface
    found = ", ".join(interface.sandbox or "the host" for interface in named) or "no such interface"
    raise CheckFailed(
        f"prevResult: sandbox of {req.ifname} doesn't match: expected {req.netns}, found {found}"
    )


def check_link(namespace: "Namespace", interface: "Interface", kind: str = "") -> "Link":
    """The link a result's interface stands for.

    Raises:
        CheckFailed: it is missing, of another kind, or has another MAC than reported.
    """
    link = find_link(namespace, interface.name)
    if link is None:
        raise CheckFailed(f"link {interface.name} in {namespace.path}: expected, not found")
    if kind and link.kind != kind:
        found = link.kind or "another kind"
        raise CheckFailed(f"link {link.name} in {namespace.path}: expected a {kind}, found {found}")
    if interface.mac and link.mac != interface.mac.lower():
        raise CheckFailed(
            f"link {link.name} in {namespace.path}: expected MAC {interface.mac}, found {link.mac}"
        )
    return link


def check_addresses(container: "Namespace", link: "Link", result: "Result") -> None:
    """Every address of the result is on the link, with its connected route in whatever table.

    A plugin chained after this one may have moved the route (sbr, vrf).

    Raises:
        CheckFailed: one is missing, or its subnet is not routed (a link that is down).
    """
    if not result.ips:
        return
    present = {str(address.interface) for address in list_addresses(container, link.index)}
    for ip in result.ips:
        if str(ip.address) not in present:
            found = ", ".join(sorted(present)) or "none"
            raise CheckFailed(
                f"addresses of {link.name} in {container.path}: expected {ip.address}, "
                f"found {found}"
            )
    connected = {
        route.dst
        for version in {ip.address.version for ip in result.ips}
        for route in list_routes(container, family=version, table=None)
    }
    for ip in result.ips:
        network = ip.address.network
        alone = network.version == 4 and network.prefixlen == network.max_prefixlen
        if not alone and network not in connected:  # a single IPv4 address has no such route
            raise CheckFailed(
                f"routes in {container.path}: expected {network} (the subnet of {ip.address}), "
                "found none; is the link down?"
            )


def check_routes(container: "Namespace", result: "Result") -> None:
    """Every route of the result is in its table; in any table when the result names none.

    The gateway is compared where the result has one, except for a default route: any will do.

    Raises:
        CheckFailed: a route is missing.
    """
    tables: dict[tuple[int, int | None], list[RouteEntry]] = {}
    for route in result.routes:
        key = (route.dst.version, route.table or None)
        if key not in tables:
            tables[key] = list_routes(container, family=key[0], table=key[1])
        if not any(_is_route(entry, route) for entry in tables[key]):
            via = f" via {route.gw}" if route.gw else ""
            raise CheckFailed(
                f"routes in {container.path}, table {key[1] or 'any'}: expected "
                f"{route.dst.network}{via}, found none"
            )


def _is_route(entry: "RouteEntry", route: "Route") -> bool:
    if entry.dst != route.dst.network:
        return False
    if route.priority and entry.priority != route.priority:
        return False
    return route.gw is None or not entry.dst.prefixlen or entry.gateway == route.gw
