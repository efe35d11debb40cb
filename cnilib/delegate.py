"""Finding and running another plugin: an IPAM plugin, or the one flannel hands over to.

Observable behaviour is that of an exec (protocol.md 7). Where the executable found is a plugin of
this very build it is called in this process instead, which saves its start-up;
``Request.builtin`` decides that.
"""

import errno
import os
import time

from cnilib.errors import CniError, DelegateError, NotAvailable, TryAgain
from cnilib.frozen import child_environment
from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import Undo

_BUSY_PATIENCE, _BUSY_PAUSE = 6.0, 0.05
_UNSPECIFIED = 999
_KNOWS_NO_COMMAND = {1, 4}  # of a plugin older than the command
_STOP_PATIENCE = 1.0


def ipam_add(req: "Request", ipam_type: str, undo: "Undo") -> "Result":
    """The addresses the IPAM plugin hands out; its DEL is registered before it is asked.

    Raises:
        DelegateError: what the IPAM plugin answered.
        CniError: it is not found, or answers without an address.
    """
    undo.add(f"release the addresses of {req.attachment}", ipam_delete, req, ipam_type)
    result = delegate_add(req, ipam_type)
    if not result.ips:
        raise CniError(f"IPAM plugin returned missing IP config: {ipam_type} gave no address")
    return result


def ipam_delete(req: "Request", ipam_type: str) -> None:
    """Release the attachment's addresses."""
    run_delegate(req, "DEL", ipam_type)


def ipam_check(req: "Request", ipam_type: str) -> None:
    """Have the IPAM plugin check its part."""
    run_delegate(req, "CHECK", ipam_type)


def ipam_status(req: "Request", ipam_type: str) -> None:
    """Ask whether the IPAM plugin could serve an ADD now.

    Raises:
        NotAvailable: the plugin is not installed.
    """
    _require_installed(req, ipam_type)
    run_delegate(req, "STATUS", ipam_type)


def ipam_gc(req: "Request", ipam_type: str) -> None:
    """Have the IPAM plugin release what is not valid; one that knows no GC is fine."""
    delegate_gc(req, ipam_type)


def delegate_status(req: "Request", name: str) -> None:
    """Ask another plugin whether it could serve an ADD now; one that knows no STATUS is fine.

    Raises:
        NotAvailable: the plugin is not installed.
    """
    _require_installed(req, name)
    _run_if_known(req, "STATUS", name)


def delegate_gc(req: "Request", name: str) -> None:
    """Have another plugin collect its garbage; one that knows no GC is fine."""
    _run_if_known(req, "GC", name)


def _require_installed(req: "Request", name: str) -> None:
    try:
        find_plugin(name, req.path)
    except CniError as error:
        raise NotAvailable(error.msg, error.details) from error


def _run_if_known(req: "Request", command: str, name: str) -> None:
    try:
        run_delegate(req, command, name)
    except DelegateError as error:
        if error.code not in _KNOWS_NO_COMMAND:
            raise


def delegate_add(req: "Request", name: str) -> "Result":
    """The result of another plugin's ADD, in the newest shape whatever shape it came in.

    Raises:
        DecodeError: the answer is no result of the version it claims.
    """
    from cnilib import jsontext
    from cnilib.types.versions import decode_result

    text = run_delegate(req, "ADD", name)
    document = jsontext.load_object(text, f"the result of plugin {name}")
    version = jsontext.find(document, "cniVersion") or req.cni_version
    return decode_result(document, str(version))


def run_delegate(req: "Request", command: str, name: str) -> bytes:
    """Run another plugin with our environment and stdin; what it printed.

    Raises:
        DelegateError: it failed; code, msg and details are its own.
        CniError: it is not found or cannot be started.
        TryAgain: it did not end before the request's deadline.
    """
    path = find_plugin(name, req.path)
    environ = {**req.environ, "CNI_COMMAND": command}
    builtin = req.builtin(path)
    if builtin is not None:
        return builtin(req.for_plugin(name, environ))
    return _Child(path, environ, req.stdin).answer(req.deadline)


def find_plugin(name: str, path: str) -> str:
    """The first regular file ``name`` in the directories of ``path`` (CNI_PATH).

    Raises:
        CniError: no name, a name with a slash, or no such file.
    """
    if not name:
        raise CniError("no plugin name provided")
    if "/" in name or "\0" in name:
        raise CniError(f"invalid plugin name: {name!r}")
    directories = path.split(":")
    for directory in directories:
        candidate = os.path.join(directory, name)
        if directory and os.path.isfile(candidate):
            return candidate
    raise CniError(f'failed to find plugin "{name}" in path {directories}')


class _Child:
    """One run of an executable.

    Its standard streams are memory files: nothing blocks, no thread is needed, and what a failed
    plugin said on stderr can be quoted.
    """

    def __init__(self, path: str, environ: dict[str, str], stdin: bytes) -> None:
        self._path = path
        self._environ = child_environment(environ)
        self._stdin = _memory_file("stdin", stdin)
        self._stdout = _memory_file("stdout")
        self._stderr = _memory_file("stderr")

    def answer(self, deadline: float) -> bytes:
        """Run it to its end; what it printed, when it succeeded."""
        try:
            status = self._wait(self._start(), deadline)
            stdout, stderr = _content(self._stdout), _content(self._stderr)
        finally:
            for descriptor in (self._stdin, self._stdout, self._stderr):
                os.close(descriptor)
        for line in stderr.decode("utf-8", "replace").splitlines():
            warn(line)
        if status != 0:
            raise _failure(self._path, status, stdout, stderr)
        return stdout

    def _start(self) -> int:
        """A file that is being replaced (ETXTBSY) is tried again for some seconds."""
        streams = [
            (os.POSIX_SPAWN_DUP2, descriptor, number)
            for number, descriptor in enumerate((self._stdin, self._stdout, self._stderr))
        ]
        give_up = time.monotonic() + _BUSY_PATIENCE
        while True:
            try:
                return _spawn(self._path, self._environ, streams)
            except OSError as error:
                if error.errno != errno.ETXTBSY or time.monotonic() > give_up:
                    reason = (error.strerror or str(error)).lower()
                    raise CniError(f"failed to start plugin {self._path}: {reason}") from error
            time.sleep(_BUSY_PAUSE)

    def _wait(self, pid: int, deadline: float) -> int:
        """The exit status as ``os.waitstatus_to_exitcode`` gives it."""
        try:
            if _ends(pid, deadline - time.monotonic()):
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except BaseException:  # a signal for us stops the child as well
            _stop(pid)
            raise
        _stop(pid)
        raise TryAgain(f"plugin {self._path} did not answer in time and was stopped; try again")


def _spawn(path: str, environ: dict[str, str], streams: "list[Any]") -> int:
    import signal

    return os.posix_spawn(path, [path], environ, file_actions=streams, setsigdef=[signal.SIGPIPE])


def _ends(pid: int, seconds: float) -> bool:
    """Whether the child ends within so many seconds."""
    import select

    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(seconds, 0.0) * 1000))
    finally:
        os.close(handle)


def _stop(pid: int) -> None:
    """End a child of ours: SIGTERM lets it undo, SIGKILL follows."""
    import signal

    os.kill(pid, signal.SIGTERM)
    if not _ends(pid, _STOP_PATIENCE):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _failure(path: str, status: int, stdout: bytes, stderr: bytes) -> CniError:
    """What a plugin that failed has to say, as our own error."""
    from cnilib import jsontext

    said = stdout.decode("utf-8", "replace").strip()
    if not said:
        quoted = stderr.decode("utf-8", "replace").strip()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return CniError(
            f"plugin {path} failed with no error message ({how})" + (f": {quoted}" * bool(quoted))
        )
    try:
        document = jsontext.load_object(stdout, "the error")
        code, msg = jsontext.find(document, "code") or _UNSPECIFIED, jsontext.find(document, "msg")
        details = jsontext.find(document, "details") or ""
    except CniError:
        return CniError(f"plugin {path} failed and answered no error object: {said!r}")
    if not isinstance(code, int) or not isinstance(msg or "", str):
        return CniError(f"plugin {path} failed and answered no error object: {said!r}")
    return DelegateError(msg or "", str(details), code=code)


def _memory_file(name: str, content: bytes = b"") -> int:
    descriptor = os.memfd_create(name)
    while content:
        content = content[os.write(descriptor, content) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _content(descriptor: int) -> bytes:
    with open(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()
