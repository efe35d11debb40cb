"""The messages of traffic control (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h).

Only what ``cnilib.kernel.tc`` uses: pyroute2's own class knows every scheduler there is, lacks
the newer attributes of tbf, and takes longer to import than a plugin works.
"""

import struct

from pyroute2.netlink import NLA_F_NESTED, nla, nlmsg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TERMINAL = 1  # TC_U32_TERMINAL
_SELECTOR = struct.Struct("!BBBxHHhhI")  # tc_u32_sel without its keys
_KEY = struct.Struct("!II")  # mask and value of a tc_u32_key, in the order of the packet
_KEY_OFFSETS = struct.Struct("=ii")  # the rest of it, in the order of the machine


def selector(keys: "tuple[tuple[int, int, int], ...]") -> bytes:
    """A u32 selector of (value, mask, offset from the network header) keys, all of which match."""
    packed = (_KEY.pack(mask, value) + _KEY_OFFSETS.pack(at, 0) for value, mask, at in keys)
    return _SELECTOR.pack(_TERMINAL, 0, len(keys), 0, 0, 0, 0, 0) + b"".join(packed)


def selector_keys(data: bytes) -> "tuple[tuple[int, int, int], ...]":
    """The keys of a selector."""
    keys = []
    for offset in range(_SELECTOR.size, len(data), _KEY.size + _KEY_OFFSETS.size):
        mask, value = _KEY.unpack_from(data, offset)
        keys.append((value, mask, _KEY_OFFSETS.unpack_from(data, offset + _KEY.size)[0]))
    return tuple(keys)


_RATE = (  # tc_ratespec
    ("cell_log", "B"),
    ("linklayer", "B"),
    ("overhead", "H"),
    ("cell_align", "h"),
    ("mpu", "H"),
    ("rate", "I"),
)


def _rate(name: str) -> tuple[tuple[str, str], ...]:
    """The fields of a tc_ratespec inside another structure; the rate itself has the plain name."""
    return tuple((f"{name}_{f}" if f != "rate" else name, code) for f, code in _RATE)


class tbf(nla):  # type: ignore[misc] # noqa: N801 - pyroute2 is untyped and finds classes by name
    """Options of a token bucket filter."""

    nla_flags = NLA_F_NESTED
    nla_map = (
        (1, "TCA_TBF_PARMS", "parms"),
        (4, "TCA_TBF_RATE64", "uint64"),
        (6, "TCA_TBF_BURST", "uint32"),
    )

    class parms(nla):  # type: ignore[misc] # noqa: N801
        """tc_tbf_qopt."""

        fields = (*_rate("rate"), *_rate("peak"), ("limit", "I"), ("buffer", "I"), ("mtu", "I"))


class htb(nla):  # type: ignore[misc] # noqa: N801
    """Options of a hierarchical token bucket, and of its classes."""

    nla_flags = NLA_F_NESTED
    nla_map = (
        (1, "TCA_HTB_PARMS", "parms"),
        (2, "TCA_HTB_INIT", "glob"),
        (6, "TCA_HTB_RATE64", "uint64"),
        (7, "TCA_HTB_CEIL64", "uint64"),
    )

    class parms(nla):  # type: ignore[misc] # noqa: N801
        """tc_htb_opt."""

        fields = (
            *_rate("rate"),
            *_rate("ceil"),
            *((name, "I") for name in ("buffer", "cbuffer", "quantum", "level", "prio")),
        )

    class glob(nla):  # type: ignore[misc] # noqa: N801
        """tc_htb_glob."""

        fields = tuple((n, "I") for n in ("version", "rate2quantum", "defcls", "debug", "direct"))


class fifo(nla):  # type: ignore[misc] # noqa: N801
    """tc_fifo_qopt: the length of a queue."""

    fields = (("limit", "I"),)


class u32(nla):  # type: ignore[misc] # noqa: N801
    """Options of a filter that looks at words of the packet."""

    nla_flags = NLA_F_NESTED
    nla_map = (
        (1, "TCA_U32_CLASSID", "uint32"),
        (5, "TCA_U32_SEL", "cdata"),
        (7, "TCA_U32_ACT", "actions"),
    )

    class actions(nla):  # type: ignore[misc] # noqa: N801
        """What happens to a packet that matches; we know of one action."""

        nla_flags = NLA_F_NESTED
        nla_map = ((1, "TCA_ACT_FIRST", "action"),)

        class action(nla):  # type: ignore[misc] # noqa: N801
            """An action."""

            nla_flags = NLA_F_NESTED
            nla_map = ((1, "TCA_ACT_KIND", "asciiz"), (2, "TCA_ACT_OPTIONS", "mirred"))

            class mirred(nla):  # type: ignore[misc] # noqa: N801
                """Sends the packet out of another link."""

                nla_flags = NLA_F_NESTED
                nla_map = ((2, "TCA_MIRRED_PARMS", "parms"),)

                class parms(nla):  # type: ignore[misc] # noqa: N801
                    """tc_mirred."""

                    fields = (
                        ("index", "I"),
                        ("capab", "I"),
                        ("action", "i"),
                        ("refcnt", "i"),
                        ("bindcnt", "i"),
                        ("eaction", "i"),
                        ("ifindex", "I"),
                    )


_OPTIONS = {"tbf": tbf, "htb": htb, "pfifo": fifo, "u32": u32}


class tcmsg(nlmsg):  # type: ignore[misc] # noqa: N801
    """A qdisc, class or filter. ``options`` depend on the kind, which stands before them."""

    prefix = "TCA_"
    fields = (
        ("family", "B"),
        ("pad1", "B"),
        ("pad2", "H"),
        ("index", "i"),
        ("handle", "I"),
        ("parent", "I"),
        ("info", "I"),
    )
    nla_map = ((1, "TCA_KIND", "asciiz"), (2, "TCA_OPTIONS", "options_of_kind"))

    @staticmethod
    def options_of_kind(message: "Any", **_where: object) -> type:
        """The class of the options; pyroute2 asks before it encodes or decodes them."""
        found: type = _OPTIONS.get(message.get_attr("TCA_KIND"), message.hex)
        return found
