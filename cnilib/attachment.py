"""The key of everything a plugin makes: one interface of one container in one network."""

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
    """The attachments that a GC must keep (``cni.dev/valid-attachments``)."""

    def __init__(self, pairs: "set[tuple[str, str]]") -> None:
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
