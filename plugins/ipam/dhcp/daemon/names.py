"""Domain names in options (RFC 1035 section 3.1 and 4.1.4; RFC 3397, RFC 8415 section 10).

They end up in a container's resolv.conf, so a name with any other character than a host name has is
no name here.
"""

_POINTER, _OFFSET_MASK = 0xC0, 0x3FFF
_LONGEST_NAME = 253
_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."  # RFC 952, and "_"
)
_MOST_STEPS = 128


def plain_name(value: bytes) -> str:
    """A name as text; "" when it is none."""
    text = value.rstrip(b"\0").decode("latin-1")
    is_name = set(text) <= _CHARACTERS and len(text) <= _LONGEST_NAME
    return text.rstrip(".") if is_name else ""


def decode_names(value: bytes) -> list[str]:
    """A list of encoded names; it ends at the first that is malformed."""
    names, offset = [], 0
    while offset < len(value):
        name, offset = _decode_name(value, offset)
        if not name:
            break
        names.append(name)
    return names


def encode_names(names: list[str]) -> bytes:
    """Names without compression."""
    return b"".join(
        b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"
        for name in names
    )


def _decode_name(value: bytes, offset: int) -> tuple[str, int]:
    """The name at ``offset`` and where the next begins; "" when malformed."""
    labels: list[bytes] = []
    after = 0
    for _ in range(_MOST_STEPS):  # pointers may go round in circles
        length = value[offset] if offset < len(value) else _POINTER - 1
        if length >= _POINTER:
            pointer = int.from_bytes(value[offset : offset + 2], "big") & _OFFSET_MASK
            after = after or offset + 2
            if offset + 2 > len(value):
                break
            offset = pointer
        elif length == 0:
            return plain_name(b".".join(labels)), after or offset + 1
        else:
            offset += 1 + length
            if offset > len(value):
                break
            labels.append(value[offset - length : offset])
    return "", len(value)
