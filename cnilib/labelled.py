"""Running a plugin of ours again under another SELinux label (selinux(8), proc(5) attr/exec)."""

import os

from cnilib import jsontext
from cnilib.delegate import run_delegate
from cnilib.errors import CniError
from cnilib.kernel.links import set_down
from cnilib.kernel.netns import Namespace
from cnilib.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXEC_LABEL = "/proc/thread-self/attr/exec"


def run_labelled(req: Request, document: "dict[str, Any]", ifname: str, label: str) -> None:
    """ADD of ``document`` by a process of that label: a link ``ifname``, which is down afterwards.

    Raises:
        CniError: there is no SELinux, the label is wrong, or what the plugin answered.
    """
    environ = req.environ | {"CNI_IFNAME": ifname, "CNI_ARGS": "", "CNI_PLUGIN_CNID": "off"}
    environ["CNI_COMMAND"] = "ADD"
    again = Request(req.plugin, environ, jsontext.dump(document), deadline=req.deadline)
    _set_label(label)
    try:
        run_delegate(again, "ADD", req.plugin)
    finally:
        _set_label("")
    with Namespace.open(req.netns) as container:
        set_down(container, ifname)


def _set_label(label: str) -> None:
    """The label of programs that this thread starts from now on; "" is what the policy says."""
    try:
        descriptor = os.open(_EXEC_LABEL, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, label.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CniError(
            f"failed to set SELinux context {label!r}: {reason} (is SELinux enabled, and is it a "
            "label of its policy?)"
        ) from error
