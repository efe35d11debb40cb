"""vrf: puts the container's interface into a VRF of the container.

ADD makes the VRF when it is missing, with the first free routing table or the configured one, and
takes the interface's addresses and routes along::

    {"cniVersion": "1.0.0", "name": "blue", "type": "vrf", "vrfname": "blue"}

On the host it leaves nothing. DEL takes the interface out again, with its addresses and routes, and
removes the VRF when that was its last interface.
"""

from pydantic import Field, field_validator

from cnilib.errors import CheckFailed, CniError
from cnilib.kernel.links import (
    find_link,
    find_link_by_index,
    get_link,
    list_links,
    remove_link,
    set_up,
)
from cnilib.kernel.netns import Namespace
from cnilib.kernel.tables import free_table, tables_in_use
from cnilib.kernel.vrf import (
    add_vrf,
    belongings_of,
    enter_vrf,
    give_back,
    leave_vrf,
    table_of_vrf,
    tables_of_vrfs,
)
from cnilib.plugin import plugin
from cnilib.request import check_interface_name
from cnilib.types.config import NetConf
from cnilib.undo import ErrorList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.vrf import Belongings
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import Undo

_LAST_TABLE = 2**32 - 1


class TeardownConf(NetConf):
    """What DEL needs."""

    vrfname: str = Field(description="name of the VRF in the container, made if missing")

    @field_validator("vrfname")
    @classmethod
    def _is_given(cls, name: str) -> str:
        if not name:
            raise ValueError("a name is needed")
        return name


class Conf(TeardownConf):
    """The keys of ADD and CHECK."""

    table: int = Field(
        default=0,
        ge=0,
        le=_LAST_TABLE,
        description="routing table of the VRF; 0 takes the first that is not in use",
    )

    @field_validator("vrfname")
    @classmethod
    def _is_link_name(cls, name: str) -> str:
        check_interface_name(name)
        return name


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """The interface first, so that nothing is made for one that cannot be moved."""
    result = req.get_prev_result()
    with Namespace.open(req.netns) as container, container.locked(req.deadline):
        link = get_link(container, req.ifname)
        vrf = _find_vrf(container, conf)
        if vrf is None or link.master != vrf.index:
            _refuse_master(container, link)
        vrf = _ensure_vrf(container, vrf, conf, undo)
        if link.master != vrf.index:
            kept = belongings_of(container, link)
            undo.add(f"take {link.name} out of {vrf.name}", _take_out, req.netns, link, vrf, kept)
            enter_vrf(container, link, vrf, kept)
    return result


def _find_vrf(container: Namespace, conf: Conf) -> "Link | None":
    vrf = find_link(container, conf.vrfname)
    if vrf is None:
        return None
    if vrf.kind != "vrf":
        raise CniError(
            f"link {vrf.name} in {container.path} is no VRF but a {vrf.kind or 'physical link'}: "
            "choose another vrfname"
        )
    if conf.table and table_of_vrf(vrf) != conf.table:
        raise CniError(
            f"VRF {vrf.name} in {container.path} has table {table_of_vrf(vrf)}, configured is "
            f"{conf.table}: interfaces of one VRF need the same table"
        )
    return vrf


def _refuse_master(container: Namespace, link: "Link") -> None:
    if link.master:
        master = find_link_by_index(container, link.master)
        name = master.name if master else f"with index {link.master}"
        raise CniError(
            f"link {link.name} in {container.path} already has a master: {name}; take it out of "
            "there first"
        )


def _ensure_vrf(container: Namespace, vrf: "Link | None", conf: Conf, undo: "Undo") -> "Link":
    """The VRF, which is up."""
    if vrf is None:
        table = conf.table or _choose_table(container)
        undo.add(f"remove VRF {conf.vrfname}", _remove_if_made, container.path, conf.vrfname)
        add_vrf(container, conf.vrfname, table)
        vrf = get_link(container, conf.vrfname)
    if not vrf.up:
        set_up(container, vrf.name)
    return vrf


def _choose_table(container: Namespace) -> int:
    return free_table(tables_in_use(container) | tables_of_vrfs(container), 1)


def _remove_if_made(netns: str, name: str) -> None:
    with Namespace.open(netns) as container:
        vrf = find_link(container, name)
        if vrf is not None and vrf.kind == "vrf":
            _remove_if_empty(container, vrf)


def _remove_if_empty(container: Namespace, vrf: "Link") -> None:
    if not list_links(container, master=vrf.index):
        remove_link(container, vrf.name)


def _take_out(netns: str, link: "Link", vrf: "Link", kept: "Belongings") -> None:
    errors = ErrorList()
    with Namespace.open(netns) as container:
        give_back(container, link, vrf, kept, errors)
    errors.raise_any()


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """The interface out of this VRF, if it is in there; an empty VRF goes, whoever made it."""
    with errors:
        container = Namespace.find(req.netns)
        if container is not None:
            with container, container.locked(req.deadline):
                _leave(container, req.ifname, conf.vrfname, errors)


def _leave(container: Namespace, ifname: str, vrfname: str, errors: "ErrorList") -> None:
    vrf = find_link(container, vrfname)
    if vrf is None or vrf.kind != "vrf":
        return
    with errors:
        link = find_link(container, ifname)
        if link is not None and link.master == vrf.index:
            leave_vrf(container, link, vrf, errors)
    with errors:
        _remove_if_empty(container, vrf)


def check(req: "Request", conf: Conf) -> None:
    """The VRF is there, up, has the configured table, and the interface is in it."""
    with Namespace.open(req.netns) as container:
        vrf, link = find_link(container, conf.vrfname), find_link(container, req.ifname)
    where = f"VRF {conf.vrfname} in {req.netns}"
    if vrf is None or vrf.kind != "vrf":
        found = "no link of that name" if vrf is None else f"a {vrf.kind or 'physical link'}"
        raise CheckFailed(f"{where}: expected, found {found}")
    if not vrf.up:
        raise CheckFailed(f"{where}: expected it up, found it down")
    if conf.table and table_of_vrf(vrf) != conf.table:
        raise CheckFailed(f"{where}: expected table {conf.table}, found {table_of_vrf(vrf)}")
    if link is None or link.master != vrf.index:
        found = "no such link" if link is None else "it elsewhere"
        raise CheckFailed(f"{where}: expected {req.ifname} among its interfaces, found {found}")


main = plugin(
    "vrf", Conf, add=add, delete=delete, check=check, delete_conf=TeardownConf, chained=True
)
