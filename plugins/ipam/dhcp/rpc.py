"""What plugin and daemon say to one another: one line of JSON each way over a unix socket.

The protocol is private to this suite, as the reference's (Go's net/rpc) is to the reference: plugin
and daemon are of one make. Each of ours recognises the other make and says so.
"""

import json
import socket
import time

from cnilib.errors import CniError, DecodeError, TryAgain
from cnilib.jsontext import load_object
from cnilib.types.base import Items, Model
from cnilib.types.config import AttachmentRef
from plugins.ipam.dhcp.conf import DEFAULT_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 1 << 20
"""Bytes of one line; an order with all 254 options provided has an eighth of it."""

FOREIGN_PEER = b"HTTP/1.0 400 this dhcp daemon serves the dhcp plugin of its own suite only\r\n\r\n"
"""The answer to a peer that speaks no JSON: Go's net/rpc quotes the status line in its error."""


class DaemonUnreachable(TryAgain):
    """Nobody listens on the daemon's socket."""


class Option(Model):
    """A DHCP option; the value in hexadecimal digits."""

    code: int
    value: str


class Order(Model):
    """What the plugin asks of the daemon: ``command`` is ADD, CHECK, DEL, GC or STATUS."""

    command: str
    network: str = ""
    container_id: str = ""
    ifname: str = ""
    netns: str = ""
    families: Items[int] = ()
    request: Items[int] = ()
    provide: Items[Option] = ()
    suggest: Items[str] = ()
    valid: Items[AttachmentRef] = ()


def ask(path: str, document: "dict[str, Any]", deadline: float) -> "dict[str, Any]":
    """The daemon's answer to an order.

    Raises:
        DaemonUnreachable: nobody listens at ``path``.
        TryAgain: no answer before the deadline, or the daemon ended in the middle.
        CniError: what the daemon answered.
        DecodeError: whoever listens there is no daemon of ours.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_left(deadline))
        try:
            connection.connect(path)
        except OSError as error:
            raise _unreachable(path, error) from error
        try:
            connection.sendall(line_of(document))
            answer = _read(connection, deadline)
        except TimeoutError:
            raise TryAgain(
                f"the dhcp daemon at {path} did not answer in time: its log says why"
            ) from None
        except OSError as error:
            raise TryAgain(f"the dhcp daemon at {path} hung up: {error.strerror}") from error
    return _checked(path, answer)


def line_of(document: "dict[str, Any]") -> bytes:
    """A document as it is sent."""
    return json.dumps(document).encode() + b"\n"


def _checked(path: str, answer: bytes) -> "dict[str, Any]":
    if not answer:
        raise TryAgain(f"the dhcp daemon at {path} ended without an answer; try again")
    try:
        document = load_object(answer, "the answer")
    except DecodeError:
        raise DecodeError(
            f"whoever listens at {path} is no dhcp daemon of this suite: stop it and start this "
            "suite's `dhcp daemon`",
            answer[:60].decode("utf-8", "replace").strip(),
        ) from None
    error = document.get("error")
    if error is not None:
        raise CniError(error["msg"], error.get("details", ""), code=error["code"])
    return document


def _unreachable(path: str, error: OSError) -> DaemonUnreachable:
    reason = (error.strerror or str(error)).lower()
    flag = "" if path == DEFAULT_SOCKET else f" -socketpath {path}"
    return DaemonUnreachable(
        f"error dialing DHCP daemon: {path}: {reason} "
        f"(start it: `dhcp daemon{flag}`, or `systemctl start cni-dhcp.socket`)"
    )


def _read(connection: socket.socket, deadline: float) -> bytes:
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < LONGEST:
        connection.settimeout(_left(deadline))
        chunk = connection.recv(1 << 16)
        if not chunk:
            break
        answer += chunk
    return answer


def _left(deadline: float) -> float:
    """Seconds; never 0, which would mean non-blocking."""
    return max(deadline - time.monotonic(), 0.01)
