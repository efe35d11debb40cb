"""One invocation of a plugin: the environment and stdin, validated, as one immutable object.

What each command needs is the table ``_NEEDS``; the order in which things are checked decides
which error a runtime sees and is that of protocol.md 2.2. Nothing heavy is imported here: the
error paths of a wrong call must answer as fast as the interpreter starts.
"""

import os
import time

from cnilib.errors import CniError, ConfigError, DecodeError, EnvError, IoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cnilib.attachment import Attachment
    from cnilib.types.result import Result

    Builtin = Callable[["Request"], bytes]

PATIENCE = 50.0
"""Seconds a call may wait in all (locks, DAD, delegates): below CRI-O's 60 (protocol.md 8)."""

_FILE_TIME_LAG = 0.01  # seconds that a file's time may be behind the clock: one tick at 100 Hz
_MAX_IFNAME = 15  # IFNAMSIZ - 1, linux/if.h


class Request:
    """What a runtime asks of a plugin; nobody changes it.

    ``command``, ``container_id``, ``netns``, ``ifname``, ``args`` and ``path`` are the CNI_*
    variables as given ("" when unset); ``stdin`` the raw document, ``document`` the same decoded.
    ``deadline`` is the ``time.monotonic()`` at which everything that waits gives up, ``started``
    the ``time.time()`` of the call: GC spares files that are not older. ``builtin``
    tells which executables are plugins of this very build (see ``cnilib.delegate``).
    """

    def __init__(
        self,
        plugin: str,
        environ: "dict[str, str]",
        stdin: bytes = b"",
        document: "dict[str, Any] | None" = None,
        *,
        deadline: float | None = None,
        started: float | None = None,
        builtin: "Callable[[str], Builtin | None]" = lambda _path: None,
    ) -> None:
        self.plugin = plugin
        self.environ = environ
        self.stdin = stdin
        self.document = document or {}
        self.deadline = deadline or time.monotonic() + PATIENCE
        self.started = started or time.time() - _FILE_TIME_LAG
        self.builtin = builtin
        self.command = environ.get("CNI_COMMAND", "")
        self.container_id = environ.get("CNI_CONTAINERID", "")
        self.netns = environ.get("CNI_NETNS", "")
        self.ifname = environ.get("CNI_IFNAME", "")
        self.args = environ.get("CNI_ARGS", "")
        self.path = environ.get("CNI_PATH", "")
        self.network: str = self.value("name") or ""
        self.cni_version: str = self.value("cniVersion") or "0.1.0"
        self._prev_result: Result | None = None
        self._prev_result_read = False

    def value(self, key: str) -> "Any":
        """A top-level value of the document by its key in any case; None when absent or null."""
        from cnilib import jsontext

        return jsontext.find(self.document, key)

    @property
    def attachment(self) -> "Attachment":
        """Network, container and interface: the key of all state this call makes."""
        from cnilib.attachment import Attachment

        return Attachment(self.network, self.container_id, self.ifname)

    @property
    def prev_result(self) -> "Result | None":
        """What the plugins before this one made; None when absent.

        On DEL and GC one that cannot be decoded counts as absent: clean-up must not need it.

        Raises:
            DecodeError, ConfigError: ADD, CHECK: it is not of the configuration's version.
        """
        if not self._prev_result_read:
            self._prev_result = self._decode_prev_result()
            self._prev_result_read = True
        return self._prev_result

    def get_prev_result(self) -> "Result":
        """The prevResult that a chained plugin works on.

        Raises:
            ConfigError: there is none.
            DecodeError: it is not of the configuration's version.
        """
        if self.prev_result is None:
            raise ConfigError(
                f"Required prevResult missing: {self.plugin} must be called as chained plugin, "
                "after the one that makes the interface"
            )
        return self.prev_result

    def _decode_prev_result(self) -> "Result | None":
        value = self.value("prevResult")
        if value is None:
            return None
        from cnilib.types.versions import decode_result

        try:
            return decode_result(value, self.cni_version)
        except CniError:
            if self.command in {"DEL", "GC"}:
                return None
            raise

    def cni_args(self, known: "set[str]") -> dict[str, str]:
        """The pairs of CNI_ARGS whose key is one of ``known``.

        Raises:
            EnvError: a malformed pair, or an unknown key without ``IgnoreUnknown=1``.
        """
        return parse_cni_args(self.args, known)

    def with_environ(self, **changes: str) -> "Request":
        """The same request under an environment that differs in some variables."""
        return self.for_plugin(self.plugin, self.environ | changes)

    def with_stdin(self, stdin: bytes, document: "dict[str, Any]") -> "Request":
        """The same call with another configuration, for a delegate."""
        return Request(
            self.plugin,
            self.environ,
            stdin,
            document,
            deadline=self.deadline,
            started=self.started,
            builtin=self.builtin,
        )

    def for_plugin(self, plugin: str, environ: "dict[str, str]") -> "Request":
        """The same document and deadline for another plugin."""
        return Request(
            plugin,
            environ,
            self.stdin,
            self.document,
            deadline=self.deadline,
            started=self.started,
            builtin=self.builtin,
        )


def read_request(
    plugin: str,
    environ: "dict[str, str]",
    read_stdin: "Callable[[], bytes]",
    builtin: "Callable[[str], Builtin | None]",
) -> Request:
    """Check the environment, then read and decode stdin.

    VERSION and a call without a command are answered before this (``plugins.launch``).

    Raises:
        EnvError: a variable is missing or invalid, or the command is unknown.
        IoError: stdin cannot be read.
        DecodeError: stdin is not one JSON object, or ``name``/``cniVersion`` is no string.
        ConfigError: the network name is missing or illegal.
    """
    deadline, started = time.monotonic() + PATIENCE, time.time() - _FILE_TIME_LAG
    check_environment(environ)
    try:
        stdin = read_stdin()
    except OSError as error:
        raise IoError(f"failed to read the configuration from stdin: {error.strerror}") from error
    req = Request(
        plugin,
        environ,
        stdin,
        _decode(stdin),
        deadline=deadline,
        started=started,
        builtin=builtin,
    )
    _check_name(req.network)
    if req.command not in _NEEDS:
        raise EnvError(f"unknown CNI_COMMAND: {req.command}")
    return req


def _decode(stdin: bytes) -> "dict[str, Any]":
    from cnilib import jsontext

    document = jsontext.load_object(stdin, "the network configuration on stdin")
    for key in ("name", "cniVersion"):
        if not isinstance(jsontext.find(document, key), str | None):
            raise DecodeError(f"error parsing the network configuration: {key} must be a string")
    return document


def check_environment(environ: "dict[str, str]") -> None:
    """Hold the CNI_* variables against the table of what the command needs.

    Raises:
        EnvError: the first invalid one; if none is invalid, all missing ones by name.
    """
    needed, validated = _NEEDS.get(environ.get("CNI_COMMAND", ""), ((), False))
    missing = []
    for name in needed:
        text = environ.get(name, "")
        if not text:
            missing.append(name)
        elif validated and name in _VALIDATORS:
            _VALIDATORS[name](text)
    if missing:
        raise EnvError(f"required environment variables are missing: [{','.join(missing)}]")


def parse_cni_args(text: str, known: "set[str]") -> dict[str, str]:
    """``KEY=value;KEY=value`` (protocol.md 2.5); keys are matched exactly.

    Raises:
        EnvError: a malformed pair, or an unknown key without ``IgnoreUnknown=1``.
    """
    pairs: dict[str, str] = {}
    for pair in text.split(";") if text else ():
        key, _, value = pair.partition("=")
        if pair.count("=") != 1:
            raise EnvError(f"invalid pair {pair!r} in CNI_ARGS: expected KEY=value")
        pairs[key] = value
    ignore = pairs.pop("IgnoreUnknown", "false").lower()
    if ignore not in {"1", "true", "0", "false"}:
        raise EnvError(f"invalid IgnoreUnknown={ignore} in CNI_ARGS: expected true or false")
    unknown = [key for key in pairs if key not in known]
    if unknown and ignore in {"0", "false"}:
        raise EnvError(
            f"unknown key {unknown[0]!r} in CNI_ARGS: this plugin knows {sorted(known)} "
            "(IgnoreUnknown=1 lets others pass)"
        )
    return {key: value for key, value in pairs.items() if key in known}


def check_interface_name(name: str) -> None:
    """The kernel's rules for a link name (dev_valid_name in net/core/dev.c).

    Raises:
        ValueError: what is wrong with it.
    """
    if not name:
        raise ValueError("interface name is empty")
    if len(os.fsencode(name)) > _MAX_IFNAME:
        raise ValueError(f"interface name {name!r} is longer than {_MAX_IFNAME} bytes")
    if name in {".", ".."}:
        raise ValueError(f"interface name {name!r} is not allowed")
    if any(char in "/:\0" or char.isspace() for char in name):
        raise ValueError(f"interface name {name!r} contains a slash, a colon or white space")


def _is_identifier(text: str) -> bool:
    """``[A-Za-z0-9][A-Za-z0-9_.-]*``, without the import of ``re``."""
    rest = text.replace("_", "").replace(".", "").replace("-", "")
    return text.isascii() and text[:1].isalnum() and rest.isalnum()


def _check_container_id(text: str) -> None:
    if not _is_identifier(text):
        raise EnvError("invalid characters in CNI_CONTAINERID", text)


def _check_ifname(text: str) -> None:
    try:
        check_interface_name(text)
    except ValueError as error:
        raise EnvError(f"invalid CNI_IFNAME: {error}", text) from None


def _check_name(name: str | None) -> None:
    if not name:
        raise ConfigError("missing network name: the configuration needs a key `name`")
    if not _is_identifier(name):
        raise ConfigError("invalid characters found in network name", name)


_ATTACHMENT_KEYS = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH")
_VALIDATORS: "dict[str, Callable[[str], None]]" = {
    "CNI_CONTAINERID": _check_container_id,
    "CNI_IFNAME": _check_ifname,
}
# command -> (variables it needs, in the order they are checked; whether they are validated)
_NEEDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "ADD": (_ATTACHMENT_KEYS, True),
    "CHECK": (_ATTACHMENT_KEYS, True),
    "DEL": (tuple(key for key in _ATTACHMENT_KEYS if key != "CNI_NETNS"), True),
    "GC": (("CNI_COMMAND", "CNI_PATH"), False),
    "STATUS": (("CNI_COMMAND", "CNI_PATH"), False),
}
