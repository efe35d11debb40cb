"""flannel: hands over to another plugin, with the subnet that flanneld obtained for this node.

ADD reads the subnet from the file flanneld writes, completes from it the configuration of a
delegate, by default bridge with host-local, and returns the delegate's result::

    {"cniVersion": "1.0.0", "name": "cbr0", "type": "flannel",
     "delegate": {"isDefaultGateway": true}}

On the host this leaves what the delegate leaves, and ``<dataDir>/<container id>`` with the
configuration that the delegate got. DEL has the delegate delete with just that, and then removes
the file; it does not need flanneld's file any more. Written after flannel.md.
"""

from cnilib import jsontext
from cnilib.delegate import (
    delegate_add,
    delegate_gc,
    delegate_status,
    find_plugin,
    run_delegate,
)
from cnilib.errors import CheckFailed, CniError
from cnilib.log import warn
from cnilib.plugin import plugin
from cnilib.types.base import decode
from plugins.meta.flannel import state
from plugins.meta.flannel.config import Conf, TeardownConf, delegate_conf, delegate_type
from plugins.meta.flannel.subnet import check_current, load_subnet, unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.types.base import JsonObject
    from cnilib.types.result import Result
    from cnilib.undo import ErrorList, Undo


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """Build the delegate's configuration, keep it, hand over."""
    subnet = load_subnet(conf.subnet_file)
    delegated = _with_document(req, delegate_conf(req, conf, subnet))
    check_current(conf.subnet_file, subnet)
    kind = delegate_type(delegated.document)
    _find_delegate(kind, req.path)
    undo.add("undo what was delegated", _take_back, delegated, conf.data_dir)
    state.save(conf.data_dir, req.attachment, delegated.stdin)
    return delegate_add(delegated, kind)


def _find_delegate(kind: str, path: str) -> None:
    """Before anything is kept or made."""
    try:
        find_plugin(kind, path)
    except CniError as error:
        raise CniError(f"failed to delegate add: {error.msg}", error.details) from error


def _with_document(req: "Request", document: "JsonObject") -> "Request":
    """The request as the delegate gets it: compact JSON with sorted keys, as the reference's."""
    return req.with_stdin(jsontext.dump(document, sort_keys=True, compact=True), document)


def _take_back(delegated: "Request", data_dir: str) -> None:
    """The file goes even if the delegate fails: what it could not add it may never delete."""
    saved = state.find_saved(data_dir, delegated.attachment)
    if saved is None or saved.document != delegated.document:
        return
    try:
        run_delegate(delegated, "DEL", delegate_type(delegated.document))
    finally:
        state.forget(saved)


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Replay what was kept; without it nothing was delegated."""
    with errors:
        saved = state.find_saved(conf.data_dir, req.attachment)
        if saved is None:
            return
        if not saved.document:
            warn(f"flannel: {saved.path} is no configuration: it is built anew from subnet.env")
            saved = saved._replace(document=_rebuilt(req))
        _release(req, saved)


def _release(req: "Request", saved: state.Saved) -> None:
    """The file goes last: while the delegate fails, a repeated DEL must find it."""
    if saved.document:
        delegated = _with_document(req, saved.document)
        run_delegate(delegated, "DEL", delegate_type(saved.document))
    state.forget(saved)


def _rebuilt(req: "Request") -> "JsonObject":
    """What ADD would delegate now; empty when that cannot be told either."""
    try:
        conf = decode(Conf, req.document)
        return delegate_conf(req, conf, load_subnet(conf.subnet_file))
    except CniError as error:
        warn(f"flannel: nothing is delegated: {error}")
        return {}


def check(req: "Request", conf: Conf) -> None:
    """Have the delegate check, with what it got on ADD and the present result."""
    from cnilib.attach import begin_check

    begin_check(req, "")
    saved = state.find_saved(conf.data_dir, req.attachment)
    if saved is None or not saved.document:
        found = f"{saved.path}, which is no configuration" if saved else "none"
        raise CheckFailed(
            f"configuration delegated for {req.attachment}: expected a file in {conf.data_dir}, "
            f"found {found}"
        )
    document = saved.document | {"prevResult": req.value("prevResult")}
    run_delegate(_with_document(req, document), "CHECK", delegate_type(document))


def status(req: "Request", conf: Conf) -> None:
    """ADD can be served once flanneld has a lease, and the delegate can serve its part."""
    try:
        subnet = load_subnet(conf.subnet_file)
        check_current(conf.subnet_file, subnet)
    except CniError as error:
        raise unusable(error) from error
    document = delegate_conf(req, conf, subnet)
    delegate_status(_with_document(req, document), delegate_type(document))


def gc(req: "Request", conf: TeardownConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Delete what was delegated for attachments that are gone, then have the delegate collect."""
    kept = list(state.list_saved(conf.data_dir, req.network, valid.before))
    for saved in kept:
        stale = state.owner(saved, valid)
        if stale is not None:
            container_id, ifname = stale
            environ = {"CNI_CONTAINERID": container_id, "CNI_IFNAME": ifname, "CNI_NETNS": ""}
            with errors:
                _release(req.with_environ(**environ), saved)
    document = _rebuilt(req) or (kept[-1].document if kept else {})
    if document:
        keys = ("cni.dev/valid-attachments", "cni.dev/attachments")
        lists = {key: req.value(key) for key in keys if jsontext.has(req.document, key)}
        version = {"cniVersion": req.cni_version}
        with errors:
            delegated = _with_document(req, document | version | lists)
            delegate_gc(delegated, delegate_type(document))


main = plugin(
    "flannel",
    Conf,
    add=add,
    delete=delete,
    check=check,
    status=status,
    gc=gc,
    delete_conf=TeardownConf,
)
