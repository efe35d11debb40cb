"""pyroute2's message classes, without the work that nobody needs."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_RTNETLINK = ("pyroute2.netlink.rtnl.", "cnilib.kernel.")


class AttributeReader:
    """A message's attributes by their names, each decoded when it is asked for.

    A link has fifty, and a bridge as many again; decoding all of them takes longer than asking the
    kernel. pyroute2 knows that: its slots decode what is read.
    """

    __slots__ = ("_slots",)

    def __init__(self, message: "Any") -> None:
        self._slots = {slot.name: slot for slot in message["attrs"]} if message else {}

    def get(self, name: str, default: "Any" = None) -> "Any":
        """The value of an attribute, ``default`` when the message has none of that name."""
        slot = self._slots.get(name)
        return default if slot is None else slot.value

    def nested(self, name: str) -> "Self":
        """The attributes inside an attribute; none where the message does not have it."""
        return type(self)(self.get(name))


def compile_tables() -> None:
    """Make the tables of all rtnetlink messages that are loaded.

    pyroute2 makes those of a class when there is a first object of it: a process that others are
    forked from does it for all of them.
    """
    from pyroute2.netlink import nlmsg_base

    classes = [nlmsg_base]
    for known in classes:
        classes += known.__subclasses__()
    for found in reversed(classes):  # a class that has none uses those of the one it extends
        if found.nla_map and found.__module__.startswith(_RTNETLINK):
            found()
