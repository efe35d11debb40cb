"""The key of everything a plugin makes: one interface of one container in one network."""

from math import inf
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Attachment(NamedTuple):
    """CNI specification, "Attachment": network name, CNI_CONTAINERID and CNI_IFNAME."""

    network: str
    container_id: str
    ifname: str

    def __str__(self) -> str:
        return f"{self.container_id}/{self.ifname} of network {self.network}"


class ValidAttachments:
    """What a GC must keep: the attachments of a list (``cni.dev/valid-attachments``).

    And whatever is not older than ``before``, seconds since the epoch: a second runtime on the
    host may have made it when the list had been written (protocol.md 6).
    """

    def __init__(self, pairs: "set[tuple[str, str]]", before: float = inf) -> None:
        self.before = before
        self._pairs = frozenset(pairs)
        self._containers = frozenset(container_id for container_id, _ in pairs)

    def __contains__(self, pair: object) -> bool:
        """``(container id, ifname) in valid``."""
        return pair in self._pairs

    def __iter__(self) -> "Iterator[tuple[str, str]]":
        return iter(self._pairs)

    def has_container(self, container_id: str) -> bool:
        """Whether any attachment of this container is valid."""
        return container_id in self._containers
