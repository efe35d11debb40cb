"""host-device: moves a device of the host into the container, and gives it back on DEL.

The device becomes CNI_IFNAME; with an ``ipam`` section it gets addresses and routes. A device that
a driver for programs has (DPDK) is no link: then only the result tells of it::

    {"cniVersion": "1.0.0", "name": "n1", "type": "host-device", "device": "ens5f1",
     "ipam": {"type": "host-local", "subnet": "10.35.0.0/24"}}

On the host this leaves ``<dataDir>/<network>-<container id>-<ifname>.json``: what the device was
like. DEL brings the device home under its name, with its MAC, MTU and alias, and removes the file.
"""

import time
from contextlib import nullcontext

from cnilib import attach
from cnilib.container_link import connect_link
from cnilib.errors import CniError
from cnilib.kernel.links import find_link, list_links
from cnilib.kernel.netns import Namespace
from cnilib.plugin import plugin
from cnilib.types.result import Interface, Result
from plugins.main.host_device import state
from plugins.main.host_device.conf import Conf
from plugins.main.host_device.devices import get_device, is_for_user_space, selectors
from plugins.main.host_device.journey import bring_home, find_inside, find_namespace, take_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.undo import ErrorList, Undo
    from plugins.main.host_device.state import Saved

_ONLY_INTERFACE = 0


def add(req: "Request", conf: Conf, undo: "Undo") -> Result:
    """Find the device, move it in, give it addresses."""
    attach.require_reportable(req, conf.ipam.type)
    given = selectors(conf)
    if is_for_user_space(given):
        return _tell(req, conf, undo)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        device = get_device(host, given)
        link = take_in(req, conf.data_dir, host, container, device, undo)
        return connect_link(req, conf, container, link, undo)


def _tell(req: "Request", conf: Conf, undo: "Undo") -> Result:
    """The addresses of a device that only a program will see."""
    result = Result()
    if conf.ipam.type:
        result = attach.add_ipam(req, conf.ipam.type, undo, _ONLY_INTERFACE)
    interfaces = (Interface(name=req.ifname, sandbox=req.netns),)
    dns = attach.chosen_dns(conf.dns, result.dns)
    return result.model_copy(update={"interfaces": interfaces, "dns": dns})


def delete(req: "Request", conf: Conf, errors: "ErrorList") -> None:
    """Addresses and device, whether or not namespace and device still exist."""
    attach.release_ipam(req, conf.ipam.type, errors)
    with errors:
        _give_back(req, conf)
    if not conf.runtime_config.device_id:  # a virtual function may be gone by now
        with errors:
            selectors(conf)


def _give_back(req: "Request", conf: Conf) -> None:
    """By the state file; without one by the alias of a link in the container."""
    saved = state.find(conf.data_dir, req.attachment)
    with Namespace.current() as host, _container(req, saved, host) as container:
        if saved is None and container is not None:
            saved = _find_marked(req, conf, container)
        if saved is not None:
            bring_home(host, container, saved, up=conf.restore_state and saved.up)
    state.forget(conf.data_dir, req.attachment)


def _container(
    req: "Request", saved: "Saved | None", host: Namespace
) -> "AbstractContextManager[Namespace | None]":
    """CNI_NETNS, or where ADD moved the device; None in it when that is gone.

    Raises:
        NetnsError: CNI_NETNS exists and is no network namespace.
    """
    found = Namespace.find(req.netns)
    if found is None and saved is not None:
        found = find_namespace(saved.netns, host)
    return found or nullcontext()


def _find_marked(req: "Request", conf: Conf, container: Namespace) -> "Saved | None":
    """What a plugin moved in that kept no file: the reference, or ours before the file was lost.

    Raises:
        CniError: CNI_IFNAME is there and does not tell its name on the host.
    """
    if _is_told_only(conf):
        return None
    link = find_link(container, req.ifname)
    if link is None and conf.device:
        found = (link for link in list_links(container) if link.alias == conf.device)
        link = next(found, None)
    if link is None:
        return None
    if not link.alias:
        raise CniError(
            f"failed to give {link.name} in {container.path} back: alias is not set, so its name "
            "on the host is not known"
        )
    return state.of_marked(req.attachment, req.netns, link)


def _is_told_only(conf: Conf) -> bool:
    """Whether ADD had nothing to move; a device that is gone does not tell."""
    try:
        return is_for_user_space(selectors(conf))
    except CniError:
        return False


def check(req: "Request", conf: Conf) -> None:
    """The device is in the container with its MAC, its addresses and routes."""
    user_space = is_for_user_space(selectors(conf))
    result = attach.begin_check(req, conf.ipam.type)
    if user_space:
        return
    with Namespace.open(req.netns) as container:
        link = attach.check_link(container, attach.get_container_interface(req, result))
        attach.check_addresses(container, link, result)
        attach.check_routes(container, result)


def status(req: "Request", conf: Conf) -> None:
    """ADD can be served when the IPAM plugin can serve its part: a device away is in use."""
    attach.forward_status(req, conf.ipam.type)


def gc(req: "Request", conf: Conf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """State of attachments that no longer exist, unless a device still needs it to come home."""
    started = time.time()
    attach.forward_gc(req, conf.ipam.type, errors)
    with errors, Namespace.current() as host:
        for saved in state.of_network(conf.data_dir, req.network, before=started):
            if saved.attachment[1:] not in valid and not _is_away(host, saved):
                with errors:
                    bring_home(host, None, saved, up=conf.restore_state and saved.up)
                    state.forget(conf.data_dir, saved.attachment)


def _is_away(host: Namespace, saved: "Saved") -> bool:
    container = find_namespace(saved.netns, host)
    if container is None:
        return False
    with container:
        return find_inside(container, saved) is not None


main = plugin("host-device", Conf, add=add, delete=delete, check=check, status=status, gc=gc)
