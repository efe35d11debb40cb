"""A D-Bus client that can call methods with string arguments, which is all firewalld needs.

Specification: D-Bus Specification 0.43, "Message Protocol", "Authentication Protocol" and "Server
Addresses". A library for it would cost more start-up time than the rest of the plugin.
"""

import errno
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

_SYSTEM_BUS = "unix:path=/var/run/dbus/system_bus_socket"
_BUS, _BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_TIMEOUT = 20.0
_CALL, _RETURN, _ERROR = 1, 2, 3
_FIELD_PATH, _FIELD_INTERFACE, _FIELD_MEMBER, _FIELD_ERROR = 1, 2, 3, 4
_FIELD_REPLY_SERIAL, _FIELD_DESTINATION, _FIELD_SIGNATURE = 5, 6, 8
_FIXED_HEADER = 16
_LONGEST_LINE, _LONGEST_MESSAGE = 16384, 1 << 27


class BusError(Exception):
    """The bus or the called service answered with an error."""


class Bus:
    """A connection to a message bus, authenticated and known to it."""

    def __init__(self, address: "str | bytes") -> None:
        self._serial = 0
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(_TIMEOUT)
            self._socket.connect(address)
            self._authenticate()
            self.call(_BUS, _BUS_PATH, _BUS, "Hello")
        except BaseException:
            self._socket.close()
            raise

    @classmethod
    def system(cls, environ: "Mapping[str, str]") -> "Self":
        """The system bus, or the one that DBUS_SYSTEM_BUS_ADDRESS names.

        Raises:
            OSError: nobody listens there.
            BusError: the bus does not let us in.
        """
        return cls(_unix_address(environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS))

    def has_owner(self, name: str) -> bool:
        """Whether a service owns ``name``. One that could be started does not count."""
        try:
            return bool(self.call(_BUS, _BUS_PATH, _BUS, "GetNameOwner", name))
        except BusError:
            return False

    def call(
        self, destination: str, path: str, interface: str, member: str, *arguments: str
    ) -> str | bool | None:
        """Call a method; the string or boolean it returns, None for anything else.

        Raises:
            BusError: the answer is an error.
            OSError: the connection broke or nothing came within 20 seconds.
        """
        self._serial += 1
        fields = [
            (_FIELD_PATH, "o", path),
            (_FIELD_INTERFACE, "s", interface),
            (_FIELD_MEMBER, "s", member),
            (_FIELD_DESTINATION, "s", destination),
        ]
        if arguments:
            fields.append((_FIELD_SIGNATURE, "g", "s" * len(arguments)))
        self._socket.sendall(_message(self._serial, fields, arguments))
        while True:  # signals, such as NameAcquired, may come before the answer
            kind, header, value = self._receive()
            if header.get(_FIELD_REPLY_SERIAL) == self._serial and kind in {_RETURN, _ERROR}:
                break
        if kind == _ERROR:
            raise BusError(str(value or header.get(_FIELD_ERROR, "no reason given")))
        return value

    def _authenticate(self) -> None:
        """EXTERNAL: the bus looks at the credentials of the socket; the uid is in hex digits."""
        uid = str(os.geteuid()).encode().hex()
        self._socket.sendall(b"\0AUTH EXTERNAL " + uid.encode() + b"\r\n")
        while b"\r\n" not in self._buffer:
            self._fill(_LONGEST_LINE)
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        if not line.startswith(b"OK"):
            raise BusError(f"the bus refuses us: {line.decode('ascii', 'replace')}")
        self._socket.sendall(b"BEGIN\r\n")

    def _receive(self) -> tuple[int, dict[int, str | int], str | bool | None]:
        """The next message: its type, its header fields, the first value of its body."""
        order, kind, body_length, _, fields_length = self._fixed_header()
        body_start = _FIXED_HEADER + fields_length + -fields_length % 8
        total = body_start + body_length
        while len(self._buffer) < total:
            self._fill(_LONGEST_MESSAGE)
        packet, self._buffer = self._buffer[:total], self._buffer[total:]
        header = _header_fields(packet[_FIXED_HEADER : _FIXED_HEADER + fields_length], order)
        signature = str(header.get(_FIELD_SIGNATURE, ""))
        return kind, header, _first_value(signature, packet[body_start:], order)

    def _fixed_header(self) -> tuple[str, int, int, int, int]:
        """Byte order, type, length of the body, serial, length of the header fields."""
        while len(self._buffer) < _FIXED_HEADER:
            self._fill(_LONGEST_MESSAGE)
        order = "<" if self._buffer.startswith(b"l") else ">"
        lengths = struct.unpack_from(f"{order}III", self._buffer, 4)
        return order, self._buffer[1], *lengths

    def _fill(self, longest: int) -> None:
        data = self._socket.recv(65536)
        if not data or len(self._buffer) > longest:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._buffer += data

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        failure: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        self._socket.close()


def _message(
    serial: int, fields: "Sequence[tuple[int, str, str]]", arguments: "Sequence[str]"
) -> bytes:
    header = b""
    for code, signature, value in fields:
        spelled = _signature(value) if signature == "g" else _string(value)
        header = _padded(header, 8) + bytes((code,)) + _signature(signature) + spelled
    body = b""
    for argument in arguments:
        body = _padded(body, 4) + _string(argument)
    fixed = struct.pack("<cBBBIII", b"l", _CALL, 0, 1, len(body), serial, len(header))
    return _padded(fixed + header, 8) + body


def _header_fields(data: bytes, order: str) -> dict[int, str | int]:
    """Code -> value; the fields the specification names hold strings and unsigned integers."""
    fields: dict[int, str | int] = {}
    offset = 0
    while offset < len(data):
        offset += -offset % 8
        code, length = data[offset], data[offset + 1]
        signature = data[offset + 2 : offset + 2 + length]
        offset += 3 + length
        if signature == b"g":
            fields[code] = data[offset + 1 : offset + 1 + data[offset]].decode()
            offset += 2 + data[offset]
            continue
        offset += -offset % 4
        (number,) = struct.unpack_from(f"{order}I", data, offset)
        offset += 4
        if signature in {b"s", b"o"}:
            fields[code] = data[offset : offset + number].decode("utf-8", "replace")
            offset += number + 1
        else:
            fields[code] = number
    return fields


def _first_value(signature: str, body: bytes, order: str) -> str | bool | None:
    if signature[:1] not in {"s", "o", "b"}:
        return None
    (number,) = struct.unpack_from(f"{order}I", body)
    if signature.startswith("b"):
        return bool(number)
    return body[4 : 4 + number].decode("utf-8", "replace")


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _signature(text: str) -> bytes:
    return bytes((len(text),)) + text.encode() + b"\0"


def _padded(data: bytes, boundary: int) -> bytes:
    return data + b"\0" * (-len(data) % boundary)


def _unix_address(addresses: str) -> bytes:
    """The first Unix socket of ``unix:path=...;unix:abstract=...``.

    Raises:
        ConnectionRefusedError: there is none.
    """
    for address in addresses.split(";"):
        transport, _, rest = address.partition(":")
        keys = dict(pair.partition("=")[::2] for pair in rest.split(","))
        if transport == "unix" and "path" in keys:
            return _unescaped(keys["path"])
        if transport == "unix" and "abstract" in keys:
            return b"\0" + _unescaped(keys["abstract"])
    raise ConnectionRefusedError(errno.ECONNREFUSED, f"no Unix socket in {addresses!r}")


def _unescaped(text: str) -> bytes:
    """Undo ``%xx``."""
    first, *others = text.encode().split(b"%")
    return first + b"".join(
        bytes.fromhex(part[:2].decode("ascii", "replace")) + part[2:] for part in others
    )
