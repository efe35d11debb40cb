"""A message bus on which nobody is but a firewalld that only has zones with sources.

It knows as much of D-Bus as that takes: EXTERNAL authentication and calls whose arguments are
strings (D-Bus Specification, "Message Protocol").
"""

import socketserver
import struct
import threading

_NAME = "org.fedoraproject.FirewallD1"
_REPLY, _ERROR = 2, 3
_ERROR_NAME, _REPLY_SERIAL, _SIGNATURE = 4, 5, 8


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of the test
    """What firewalld answers instead of a result."""


class Firewalld(socketserver.ThreadingUnixStreamServer):
    """Sources of zones as (zone, source). With a ``refusal``, addSource answers that.

    It answers inside a ``with`` statement; ``environ`` leads plugins to it.
    """

    def __init__(self, path):
        super().__init__(str(path), _Connection)
        self.sources, self.refusal = set(), None
        self.environ = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={path}"}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return super().__enter__()

    def __exit__(self, *failure):
        self.shutdown()
        self._thread.join()
        super().__exit__(*failure)

    def call(self, member, *arguments):
        """What a method returns.

        Raises:
            Refusal: an error.
        """
        if member in {"Hello", "GetNameOwner"}:
            return ":1.1"
        if member == "querySource":
            return arguments in self.sources
        if member == "addSource":
            if self.refusal:
                raise Refusal(self.refusal)
            self.sources.add(arguments)
        elif member == "removeSource":
            self.sources.discard(arguments)
        return "".join(arguments[:1])


class _Connection(socketserver.StreamRequestHandler):
    def handle(self):
        self._authenticate()
        for serial, member, arguments in _calls(self.rfile):
            self.wfile.write(self._answer(serial, member, arguments))

    def _authenticate(self):
        for line in self.rfile:
            words = line.lstrip(b"\0").split()
            if words[:1] == [b"BEGIN"]:
                return
            known = words[:2] == [b"AUTH", b"EXTERNAL"]
            other = b"REJECTED EXTERNAL" if words[:1] == [b"AUTH"] else b"ERROR"
            self.wfile.write((b"OK 0123456789abcdef0123456789abcdef" if known else other) + b"\r\n")

    def _answer(self, serial, member, arguments):
        fields = _field(_REPLY_SERIAL, "u", struct.pack("<I", serial))
        try:
            result = self.server.call(member, *arguments)
        except Refusal as refusal:
            fields = _padded(fields) + _field(_ERROR_NAME, "s", _string(f"{_NAME}.Exception"))
            return _message(_ERROR, fields, "s", _string(str(refusal)))
        if isinstance(result, bool):
            return _message(_REPLY, fields, "b", struct.pack("<I", result))
        return _message(_REPLY, fields, "s", _string(result))


def _calls(stream):
    """Serial, member and arguments of every call, until the caller closes."""
    while fixed := stream.read(16):
        order = "<" if fixed.startswith(b"l") else ">"
        body_length, serial, fields_length = struct.unpack(f"{order}III", fixed[4:])
        fields = stream.read(fields_length + -fields_length % 8)
        body = stream.read(body_length)
        yield serial, _member(fields, order), _strings(body, order)


def _member(fields, order):
    """The string of field 3; the fields before it are strings as well."""
    offset = 0
    while True:
        offset += -offset % 8
        code, kind = fields[offset], fields[offset + 2 : offset + 3]
        offset += 4
        if kind == b"g":
            offset += fields[offset] + 2
            continue
        (length,) = struct.unpack_from(f"{order}I", fields, offset)
        offset += 4
        if kind not in {b"s", b"o"}:
            continue
        if code == 3:
            return fields[offset : offset + length].decode()
        offset += length + 1


def _strings(body, order):
    found, offset = [], 0
    while offset < len(body):
        (length,) = struct.unpack_from(f"{order}I", body, offset)
        found.append(body[offset + 4 : offset + 4 + length].decode())
        offset += 4 + length + 1
        offset += -offset % 4
    return tuple(found)


def _message(kind, fields, signature, body):
    encoded = bytes((len(signature),)) + signature.encode() + b"\0"
    fields = _padded(fields) + _field(_SIGNATURE, "g", encoded)
    fixed = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 1, len(fields))
    return _padded(fixed + fields) + body


def _field(code, signature, value):
    return bytes((code, 1)) + signature.encode() + b"\0" + value


def _string(text):
    return struct.pack("<I", len(text.encode())) + text.encode() + b"\0"


def _padded(data):
    return data + b"\0" * (-len(data) % 8)
