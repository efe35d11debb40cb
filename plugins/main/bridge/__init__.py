"""bridge: connects a container to a Linux bridge of the host.

ADD makes the bridge when it is missing, a veth pair between it and the container, and with an
``ipam`` section gives the container addresses and routes; optionally the host becomes its gateway,
its traffic is masqueraded, and the port is put into VLANs, isolated or held to one MAC::

    {"cniVersion": "1.0.0", "name": "n1", "type": "bridge", "bridge": "cni0", "isGateway": true,
     "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.22.0.0/16"}}

On the host it leaves the bridge with its gateway addresses, the host's end of the pair, and rules
for ``ipMasq`` and ``macspoofchk``. DEL removes all but the bridge; ``pruneBridge`` that, too.
"""

from contextlib import nullcontext

from cnilib import attach, veth
from cnilib.ip_masq import masquerade
from cnilib.kernel.links import get_link, set_up
from cnilib.kernel.netns import Namespace
from cnilib.mac import wanted_veth_mac
from cnilib.plugin import plugin
from cnilib.types.result import Interface, Result
from plugins.main.bridge.conf import Conf, TeardownConf
from plugins.main.bridge.device import bridge_lock, ensure_bridge, ensure_uplink, prune_bridge
from plugins.main.bridge.filtering import (
    check_backend,
    collect_rules,
    refuse_foreign_macs,
    remove_rules,
)
from plugins.main.bridge.gateway import ensure_gateways, gateways_of, with_gateways
from plugins.main.bridge.port import set_port_flags, wait_for_port
from plugins.main.bridge.verify import check_bridge, check_port
from plugins.main.bridge.vlan import (
    add_tagged_vlans,
    ensure_vlan_gateway,
    release_vlan_gateway,
    set_port_vlans,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cnilib.attachment import ValidAttachments
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request
    from cnilib.undo import ErrorList, Undo

_CONTAINER_INTERFACE = 2
"""Where the result has it: after the bridge and the host's end (bridge.md 3.0)."""


def add(req: "Request", conf: Conf, undo: "Undo") -> Result:
    """Bridge, veth pair, port; then addresses, gateway and masquerading; then the result."""
    attach.require_reportable(req, conf.ipam.type)
    check_backend(conf)
    mac = wanted_veth_mac(req, conf)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        with _guard(conf, req.deadline):
            bridge = ensure_bridge(host, conf)
            port, link = veth.make_veth_pair(
                host, container, req.ifname, undo, mtu=conf.mtu, mac=mac, master=bridge.index
            )
            set_port_flags(host, port, conf)
        _set_vlans(host, bridge, port, conf)
        if conf.macspoofchk:
            refuse_foreign_macs(req.attachment, port.name, link.mac, undo)
        result = Result(dns=conf.dns)
        if conf.ipam.type:
            result = _add_layer_3(req, conf, host, container, bridge, link, undo)
        elif not conf.disable_container_interface:
            set_up(container, req.ifname)
        if not conf.disable_container_interface:
            port = wait_for_port(host, port.name)
        return result.model_copy(update={"interfaces": _interfaces(req, conf, host, port, link)})


def _guard(conf: Conf, deadline: float) -> "AbstractContextManager[None]":
    """A DEL with pruneBridge must not take the bridge away before it has our port."""
    return bridge_lock(conf.bridge, deadline) if conf.prune_bridge else nullcontext()


def _set_vlans(host: "Namespace", bridge: "Link", port: "Link", conf: Conf) -> None:
    """The VLANs of the port; the uplink carries them all with their tag."""
    if conf.vlan_filtering:
        set_port_vlans(host, port, conf)
    if conf.uplink_interface:
        uplink = ensure_uplink(host, conf.uplink_interface, bridge)
        add_tagged_vlans(host, uplink, {conf.vlan, *conf.trunk_vlans} - {0})


def _add_layer_3(
    req: "Request",
    conf: Conf,
    host: "Namespace",
    container: "Namespace",
    bridge: "Link",
    link: "Link",
    undo: "Undo",
) -> Result:
    """What an ``ipam`` section asks for; the result still lacks its interfaces."""
    result = attach.add_ipam(req, conf.ipam.type, undo, _CONTAINER_INTERFACE)
    result = with_gateways(result, conf)
    veth.prepare_container_end(container, req.ifname, detect_duplicates=conf.enabledad)
    attach.configure_link(container, link, result, req.deadline, detect_duplicates=conf.enabledad)
    if conf.gateway:
        gateway_link = bridge
        if conf.vlan_gateway:
            gateway_link = ensure_vlan_gateway(host, bridge, conf, undo, req.deadline)
        ensure_gateways(host, gateway_link, gateways_of(result), force=conf.force_address)
    if conf.ip_masq:
        addresses = [ip.address for ip in result.ips]
        masquerade(req.attachment, addresses, conf.ip_masq_backend, undo)
    return result.model_copy(update={"dns": attach.chosen_dns(conf.dns, result.dns)})


def _interfaces(
    req: "Request", conf: Conf, host: "Namespace", port: "Link", link: "Link"
) -> tuple[Interface, ...]:
    """Bridge, host's end, container's end and, where there is one, the VLAN's gateway link."""
    bridge = get_link(host, conf.bridge)  # once more: a port may have changed its MAC
    interfaces = [
        Interface(name=bridge.name, mac=bridge.mac),
        Interface(name=port.name, mac=port.mac),
        Interface(name=req.ifname, mac=link.mac, sandbox=req.netns),
    ]
    if conf.ipam.type and conf.vlan_gateway:
        gateway = get_link(host, conf.vlan_gateway)
        interfaces.append(Interface(name=gateway.name, mac=gateway.mac))
    return tuple(interfaces)


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Everything of this attachment, whether or not its namespace still exists.

    The IPAM plugin comes first: dhcp releases its lease over the link.
    """
    attach.release_ipam(req, conf.ipam.type, errors)
    with errors:
        veth.remove_pair(req, conf.bridge)
    remove_rules(req.attachment, conf, errors)
    if conf.ipam.type and conf.vlan_gateway:
        with errors:
            release_vlan_gateway(conf, req.deadline)
    if conf.prune_bridge:
        with errors, Namespace.current() as host, bridge_lock(conf.bridge, req.deadline):
            prune_bridge(host, conf.bridge)
    with errors:
        req.cni_args({"MAC"})  # the reference refuses malformed ones here, too


def check(req: "Request", conf: Conf) -> None:
    """The links, addresses and routes of prevResult are there and belong together."""
    req.cni_args({"MAC"})
    result = attach.begin_check(req, conf.ipam.type)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        bridge = check_bridge(host, conf, result)
        interface = attach.get_container_interface(req, result)
        link = attach.check_link(container, interface, "veth")
        check_port(host, result, bridge, link)
        attach.check_addresses(container, link, result)
        attach.check_routes(container, result)


def status(req: "Request", conf: Conf) -> None:
    """ADD can be served when the IPAM plugin can serve its part."""
    attach.forward_status(req, conf.ipam.type)


def gc(req: "Request", conf: TeardownConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Addresses and rules of attachments that no longer exist."""
    attach.forward_gc(req, conf.ipam.type, errors)
    collect_rules(req.network, valid, errors)


main = plugin(
    "bridge",
    Conf,
    add=add,
    delete=delete,
    check=check,
    status=status,
    gc=gc,
    delete_conf=TeardownConf,
)
