"""The contract of a plugin, and the process around it.

A plugin module ends with one line, ``main = plugin("bridge", Conf, add=add, delete=delete, ...)``.
``answer`` turns a request into the bytes to print, or raises; ``serve`` is the process: it reads
the environment and stdin, prints exactly one document and sets the exit status. Nothing else in
the suite writes to stdout.

Imported before the plugin's own module is, so that a call without a command, VERSION and a wrong
environment are answered without loading what only real work needs.
"""

import os
import sys
import time

from cnilib.errors import CniError, NetnsError, TryAgain, as_cni_error
from cnilib.log import warn
from cnilib.negotiation import about_text, check_version, version_document
from cnilib.request import read_request
from cnilib.undo import ErrorList, Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn, TypeVar

    from cnilib.attachment import ValidAttachments
    from cnilib.request import Builtin, Request
    from cnilib.types.config import NetConf
    from cnilib.types.result import Result

    C = TypeVar("C", bound=NetConf)
    Leave = Callable[[int], NoReturn]

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Plugin:
    """One plugin: its name, its configuration model and its handlers.

    ``add`` registers each undo step before the act and returns the result in the newest shape;
    ``delete`` and ``gc`` use one ``with errors:`` block for each step. ``delete_conf`` is the
    model DEL and GC decode with, where they must forgive what ADD refuses. A ``chained`` plugin
    needs a prevResult on ADD and CHECK. A handler that is not given succeeds and does nothing.
    """

    def __init__(
        self,
        name: str,
        conf: "type[C]",
        *,
        add: "Callable[[Request, C, Undo], Result]",
        delete: "Callable[[Request, Any, ErrorList], None]",
        check: "Callable[[Request, C], None] | None" = None,
        status: "Callable[[Request, C], None] | None" = None,
        gc: "Callable[[Request, Any, ValidAttachments, ErrorList], None] | None" = None,
        delete_conf: "type[NetConf] | None" = None,
        chained: bool = False,
    ) -> None:
        self.name = name
        self.conf: type[Any] = conf
        self.delete_conf: type[Any] = delete_conf or conf
        self._add: Callable[[Request, Any, Undo], Result] = add
        self._delete = delete
        self._check: Callable[[Request, Any], None] | None = check
        self._status: Callable[[Request, Any], None] | None = status
        self._gc: Callable[[Request, Any, ValidAttachments, ErrorList], None] | None = gc
        self._chained = chained

    def run(self, req: "Request") -> bytes:
        """Do what ``req`` asks; the result document of ADD, nothing for the others."""
        from cnilib.types.base import decode

        if req.command == "ADD":
            return self._run_add(req, decode(self.conf, req.document))
        if req.command == "DEL":
            errors = ErrorList()
            self._delete(req, decode(self.delete_conf, req.document), errors)
            errors.raise_any()
        elif req.command == "GC":
            self._run_gc(req)
        elif req.command == "CHECK" and self._check:
            conf = decode(self.conf, req.document)
            if self._chained:
                req.get_prev_result()
            self._check(req, conf)
        elif req.command == "STATUS" and self._status:
            self._status(req, decode(self.conf, req.document))
        return b""

    def _run_add(self, req: "Request", conf: object) -> bytes:
        """The conversion of the result may fail, too, and then ADD is undone."""
        from cnilib.types.versions import encode_result

        if self._chained:
            req.get_prev_result()
        with Undo() as undo:
            return encode_result(self._add(req, conf, undo), req.cni_version)

    def _run_gc(self, req: "Request") -> None:
        from cnilib.types.base import decode
        from cnilib.types.config import valid_attachments

        if self._gc is None:
            return
        valid = valid_attachments(req.document, req.started)
        if valid is None:
            warn(f"{self.name}: GC without cni.dev/valid-attachments: nothing done")
            return
        conf, errors = decode(self.delete_conf, req.document), ErrorList()
        self._gc(req, conf, valid, errors)
        errors.raise_any()


plugin = Plugin
"""How a plugin module spells it: ``main = plugin("bridge", Conf, add=add, delete=delete)``."""


def answer(req: "Request", oldest: str, load: "Callable[[], Plugin]") -> bytes:
    """The document to print for ``req``; ``load`` imports the plugin once it is sure to run.

    The plugin's own namespace is refused before any side effect on ADD; DEL releases what the
    host holds but sees no namespace, and then reports the same error (protocol.md 3.4).
    """
    check_version(req.command, req.cni_version, oldest)
    if req.command not in {"ADD", "DEL"} or not _is_own_namespace(req):
        return load().run(req)
    refusal = NetnsError(
        "plugin's netns and netns from CNI_NETNS should not be the same",
        f"CNI_NETNS={req.netns}; CNI_NETNS_OVERRIDE=1 allows it",
    )
    if req.command == "ADD":
        raise refusal
    errors = ErrorList()
    with errors:
        load().run(req.with_environ(CNI_NETNS=""))
    errors.failures.append(refusal)
    errors.raise_any()
    return b""


def serve(
    name: str,
    oldest: str,
    load: "Callable[[], Plugin]",
    environ: dict[str, str],
    builtin: "Callable[[str], Builtin | None]",
    leave: "Leave" = os._exit,
) -> "NoReturn":
    """Answer one invocation and end the process by ``leave``.

    That is ``os._exit``: tearing an interpreter down takes longer than most plugins work.
    """
    command = environ.get("CNI_COMMAND", "")
    if not command:
        leave(_write(_STDERR, about_text(name, oldest).encode()))
    if command == "VERSION":
        leave(_write(_STDOUT, version_document(oldest).encode()))
    stdout, started = _claim_stdout(), time.monotonic()
    document, network = b"", ""
    failure: CniError | None = None
    try:
        _on_termination(_terminate)
        req = read_request(name, environ, _read_stdin, builtin)
        network = req.network
        document = answer(req, oldest, load)
        _on_termination(_ignore)  # what is done is going to be told
    except BaseException as error:  # noqa: BLE001 - the one place where errors become documents
        failure = _failure(command, error)
    if failure:
        document = error_document(failure)
    if environ.get("CNI_PLUGIN_LOG"):
        from cnilib import calllog

        calllog.record(environ, name, network, time.monotonic() - started, failure)
    leave(_write(stdout, document) or int(failure is not None))


def error_document(error: CniError) -> bytes:
    """The CNI error object (protocol.md 4)."""
    from cnilib import jsontext

    document = {"code": error.code, "msg": error.msg}
    return jsontext.dump(document | ({"details": error.details} if error.details else {}))


class _Terminated(BaseException):
    """SIGTERM or SIGINT arrived; no handler of errors on the way must swallow it."""


def _failure(command: str, error: BaseException) -> CniError:
    """What to report; a library that a signal has stopped while it loads may raise what it likes.

    An error without a CNI code is a defect of ours: its traceback goes to stderr.
    """
    import signal

    terminated = signal.getsignal(signal.SIGTERM) is _ignore
    _on_termination(_ignore)
    if terminated:
        return TryAgain(f"{command} was terminated by a signal and is undone")
    if not isinstance(error, (CniError, OSError)):
        sys.__excepthook__(type(error), error, error.__traceback__)
    return as_cni_error(error)


def _terminate(_signal: int, _frame: "FrameType | None") -> None:
    """A second signal must not interrupt the undoing that the first one starts."""
    _on_termination(_ignore)
    raise _Terminated


def _ignore(_signal: int, _frame: "FrameType | None") -> None:
    """Stay: what has begun comes to its end."""


def _on_termination(handler: "Callable[[int, FrameType | None], None]") -> None:
    import signal

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)


def _is_own_namespace(req: "Request") -> bool:
    override = req.environ.get("CNI_NETNS_OVERRIDE", "").lower()
    if not req.netns or override in {"1", "true"}:
        return False
    try:
        return os.path.samestat(os.stat(req.netns), os.stat("/proc/self/ns/net"))
    except OSError:  # what cannot be opened is not ours; the plugin will say more if it needs it
        return False


def _claim_stdout() -> int:
    """Take stdout away, so that whatever a library prints goes to stderr; -1 when it is closed.

    Standard descriptors that are closed are filled first: the next socket would take their
    number.
    """
    closed = _is_closed(_STDOUT)
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        if _is_closed(descriptor):
            os.open(os.devnull, os.O_RDWR)
    stdout = -1 if closed else os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    return stdout


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def _read_stdin() -> bytes:
    chunks = []
    while chunk := os.read(_STDIN, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def _write(descriptor: int, data: bytes) -> int:
    """Write everything; 1 when the other end is gone, which is no reason for a traceback."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return 1
    return 0
