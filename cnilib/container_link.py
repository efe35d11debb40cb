"""Making one link in the container, as macvlan, ipvlan, vlan, dummy and tap do.

A link is born in the container under a temporary name and gets CNI_IFNAME there: a link of that
name on the host does not matter, and one in the container stays as it is. Whatever fails, the new
link goes again. What such a plugin does after that, and on the other commands, is here once.
"""

import errno

from cnilib import attach
from cnilib.errors import CniError, KernelError, NotAvailable
from cnilib.kernel.links import (
    find_link,
    find_link_by_index,
    get_link,
    remove_link,
    rename_link,
    set_up,
)
from cnilib.kernel.modules import lacking
from cnilib.kernel.netns import Namespace
from cnilib.kernel.virtual_links import has_kind
from cnilib.types.result import Interface, Result
from cnilib.veth import random_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cnilib.attachment import ValidAttachments
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request
    from cnilib.types.config import NetConf
    from cnilib.undo import ErrorList, Undo

ARP_NOTIFY = "net/ipv4/conf/{}/arp_notify"
NDISC_NOTIFY = "net/ipv6/conf/{}/ndisc_notify"
"""Sysctls by which the kernel announces a link's addresses when the link comes up."""

_ONLY_INTERFACE = 0
"""Where the result has the container's link: it has no other."""


def make_link(
    container: "Namespace",
    ifname: str,
    undo: "Undo",
    create: "Callable[[str], None]",
    *,
    born_as: str = "",
) -> "Link":
    """The link that ``create`` makes in the container, called ``ifname`` and down.

    ``create`` is given the name to make it under: a temporary one unless ``born_as`` says which.

    Raises:
        CniError: the container has a link ``ifname`` already, or what ``create`` raises.
    """
    if born_as and find_link(container, born_as) is not None:
        raise _taken(ifname, container)
    newborn = _Newborn(container.path)
    undo.add(f"remove the link made for {ifname}", newborn.remove)
    name = born_as or random_name()
    newborn.name = name
    try:
        create(name)
    except CniError as error:
        taken = isinstance(error, KernelError) and error.errno in {errno.EEXIST, errno.EBUSY}
        if taken or born_as:
            newborn.name = ""  # what has that name, if anything, is not ours
        raise
    link = get_link(container, name)
    newborn.index = link.index
    return link if name == ifname else _renamed(container, link, ifname)


class _Newborn:
    """What undo knows of the link: its name until the index is known, which a rename keeps."""

    def __init__(self, netns: str) -> None:
        self._netns = netns
        self.name = ""
        self.index = 0

    def remove(self) -> None:
        """Delete the link, if it exists."""
        container = Namespace.find(self._netns)
        if container is None:
            return
        with container:
            if self.index:
                link = find_link_by_index(container, self.index)
                self.name = link.name if link else ""
            if self.name:
                remove_link(container, self.name)


def _renamed(container: "Namespace", link: "Link", ifname: str) -> "Link":
    try:
        rename_link(container, link.name, ifname)
    except KernelError as error:
        if error.errno == errno.EEXIST:
            raise _taken(ifname, container) from error
        raise
    return link._replace(name=ifname)


def _taken(ifname: str, container: "Namespace") -> CniError:
    return CniError(
        f"failed to make {ifname} in {container.path}: file exists (the container has a link of "
        "that name: delete it first)"
    )


def connect_link(
    req: "Request",
    conf: "NetConf",
    container: "Namespace",
    link: "Link",
    undo: "Undo",
    announce: "Iterable[str]" = (),
) -> Result:
    """The end of ADD: addresses and routes where there is an ``ipam``, the link up; the result.

    ``announce`` are sysctls set before the link comes up with addresses.
    """
    if conf.ipam.type:
        result = attach.add_ipam(req, conf.ipam.type, undo, _ONLY_INTERFACE)
        return configure(req, conf, container, link, result, announce)
    set_up(container, link.name)
    return _reported(req, link, Result(dns=conf.dns))


def configure(
    req: "Request",
    conf: "NetConf",
    container: "Namespace",
    link: "Link",
    result: Result,
    announce: "Iterable[str]" = (),
) -> Result:
    """Put addresses and routes of ``result`` on the link, which comes up; the result of ADD."""
    with container.entered():
        for key in announce:
            attach.write_sysctl_if_possible(container, key.format(link.name), "1")
    attach.configure_link(container, link, result, req.deadline)
    dns = attach.chosen_dns(conf.dns, result.dns)
    return _reported(req, link, result.model_copy(update={"dns": dns}))


def _reported(req: "Request", link: "Link", result: Result) -> Result:
    interface = Interface(name=link.name, mac=link.mac, sandbox=req.netns)
    ips = tuple(ip.model_copy(update={"interface": _ONLY_INTERFACE}) for ip in result.ips)
    return result.model_copy(update={"interfaces": (interface,), "ips": ips})


def delete_link(req: "Request", conf: "NetConf", errors: "ErrorList") -> None:
    """All of DEL: it needs nothing but the IPAM plugin, the namespace and CNI_IFNAME."""
    attach.release_ipam(req, conf.ipam.type, errors)
    with errors:
        attach.remove_container_link(req)


def collect_garbage(
    req: "Request", conf: "NetConf", _valid: "ValidAttachments", errors: "ErrorList"
) -> None:
    """All of GC: on the host there is nothing but what the IPAM plugin keeps."""
    attach.forward_gc(req, conf.ipam.type, errors)


def require_kind(kind: str) -> None:
    """STATUS: the kernel can make such links.

    Raises:
        NotAvailable: it cannot; the message names the module and its configuration option.
    """
    with Namespace.current() as host:
        if not has_kind(host, kind):
            raise NotAvailable(f"{kind} links cannot be made: {lacking(kind)}")
