"""A small blocking netlink socket around pyroute2's message classes.

pyroute2 encodes and decodes; its own socket layer is built on asyncio and costs more to import
than a whole plugin call may take, so it is not used. Every request is answered before the next is
sent. The kernel's own words (NLMSGERR_ATTR_MSG) become the details of an error.
"""

import os
import socket
import struct

from cnilib.errors import KernelError, TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from typing_extensions import Buffer

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP = 0x1, 0x4, 0x8, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _GET_STRICT_CHK = 270, 10, 11, 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR, _NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_ERROR_NUMBER = struct.Struct("=i")
_NLMSGERR_ATTR_MSG = 1

_BUFFER = 1 << 18
_TIMEOUT = 10.0
_DUMP_TRIES = 20


class NetlinkSocket:
    """A conversation with the kernel in the network namespace it was opened in."""

    def __init__(self, family: int = NETLINK_ROUTE) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, family)
        self._socket.settimeout(_TIMEOUT)
        self._sequence = 0
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:  # an older kernel: errors have less text, dumps are filtered by us
                continue
        self._socket.bind((0, 0))

    def close(self) -> None:
        """End the conversation."""
        self._socket.close()

    def act(self, message: "Any", kind: int, flags: int, act: str, thing: str) -> None:
        """Send a request that changes something and wait for its acknowledgement.

        Raises:
            KernelError: the kernel refused ``act`` on ``thing``.
        """
        self._send(message, kind, NLM_F_REQUEST | NLM_F_ACK | flags, act, thing)
        for _ in self._answers(act, thing):
            continue

    def get(self, message: "Any", kind: int, act: str, thing: str, flags: int = 0) -> "Any":
        """The message that answers a request for one object.

        Traffic control answers with its notification, which has to be asked for by NLM_F_ECHO.

        Raises:
            KernelError: there is no such object, or it may not be read.
        """
        self._send(message, kind, NLM_F_REQUEST | flags, act, thing)
        return _decoded(type(message), next(self._answers(act, thing)))

    def dump(self, message: "Any", kind: int, act: str, thing: str) -> "list[Any]":
        """All objects that match, taken anew when they changed while the kernel was telling.

        Raises:
            KernelError: the kernel refused.
            TryAgain: they kept changing.
        """

        def send() -> None:
            self._send(message, kind, NLM_F_REQUEST | NLM_F_DUMP, act, thing)

        return [_decoded(type(message), answer) for answer in self._dump(send, act, thing)]

    def get_raw(self, body: bytes, kind: int, act: str, thing: str) -> bytes:
        """``get`` in bytes: what stands behind the header, in the request and in the answer.

        Raises:
            KernelError: see ``get``.
        """
        self._send_raw(body, kind, NLM_F_REQUEST, act, thing)
        return next(self._answers(act, thing))[_HEADER.size :]

    def dump_raw(self, body: bytes, kind: int, act: str, thing: str) -> list[bytes]:
        """``dump`` in bytes, as ``get_raw``.

        Raises:
            KernelError, TryAgain: see ``dump``.
        """

        def send() -> None:
            self._send_raw(body, kind, NLM_F_REQUEST | NLM_F_DUMP, act, thing)

        return [answer[_HEADER.size :] for answer in self._dump(send, act, thing)]

    def _dump(self, send: "Callable[[], None]", act: str, thing: str) -> list[bytes]:
        for _ in range(_DUMP_TRIES):
            send()
            try:
                return list(self._answers(act, thing))
            except _InterruptedDumpError:
                continue
        raise TryAgain(f"failed to {act} {thing}: they keep changing; try again")

    def _send(self, message: "Any", kind: int, flags: int, act: str, thing: str) -> None:
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = self._sequence
        message.reset()
        message.encode()
        self._put(message.data, act, thing)

    def _send_raw(self, body: bytes, kind: int, flags: int, act: str, thing: str) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        self._put(header + body, act, thing)

    def _put(self, data: "Buffer", act: str, thing: str) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelError(act, thing, error.errno or 0) from error

    def _answers(self, act: str, thing: str) -> "Iterator[bytes]":
        """Messages up to the acknowledgement, the end of the dump, or the only answer of a get."""
        interrupted = False
        while True:
            packet = self._receive(act, thing)
            offset = 0
            while offset + _HEADER.size <= len(packet):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(packet, offset)
                body = packet[offset : offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence:
                    continue  # the rest of a conversation that was given up
                interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                if kind in {_NLMSG_ERROR, _NLMSG_DONE}:
                    _raise_error(body, act, thing)
                    if interrupted:
                        raise _InterruptedDumpError
                    return
                yield body

    def _receive(self, act: str, thing: str) -> bytes:
        try:
            return self._socket.recv(_BUFFER)
        except TimeoutError:
            raise TryAgain(f"failed to {act} {thing}: the kernel does not answer") from None
        except OSError as error:
            raise KernelError(act, thing, error.errno or 0) from error


class _InterruptedDumpError(Exception):
    """The kernel marked a dump as inconsistent (NLM_F_DUMP_INTR)."""


def _decoded(decoder: "Any", body: bytes) -> "Any":
    message = decoder(body)
    message.decode()
    return message


def _raise_error(body: bytes, act: str, thing: str) -> None:
    """Raise what an NLMSG_ERROR or NLMSG_DONE carries, unless it is 0: success."""
    if len(body) < _HEADER.size + _ERROR_NUMBER.size:
        return
    (negative,) = _ERROR_NUMBER.unpack_from(body, _HEADER.size)
    if negative < 0:
        raise KernelError(act, thing, -negative, details=_kernel_words(body))


def _kernel_words(body: bytes) -> str:
    """The text the kernel attached to an error (linux/netlink.h, nlmsgerr_attrs)."""
    _, _, flags, _, _ = _HEADER.unpack_from(body)
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    offset = _HEADER.size + _ERROR_NUMBER.size
    request_length = _HEADER.unpack_from(body, offset)[0]
    offset += _HEADER.size if flags & _NLM_F_CAPPED else (request_length + 3) & ~3
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if kind == _NLMSGERR_ATTR_MSG:
            text = body[offset + _ATTRIBUTE.size : offset + length]
            return os.fsdecode(text.rstrip(b"\0"))
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    return ""
