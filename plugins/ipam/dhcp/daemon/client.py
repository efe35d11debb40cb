"""What a DHCP client is to a lease, whatever the protocol: four verbs, and how they fail."""

import asyncio
from typing import NamedTuple, Protocol

from cnilib.errors import CniError, NetnsError, TryAgain
from plugins.ipam.dhcp.daemon.times import pauses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from plugins.ipam.dhcp.daemon.flags import Flags
    from plugins.ipam.dhcp.daemon.grant import Grant

    T = TypeVar("T")

_TRANSMISSIONS = (1, 2, 4)
"""Of one request; the answer is awaited so many times ``-timeout``."""


class NoAnswer(TryAgain):
    """No server answered a request and its repetitions."""


class Refused(CniError):  # noqa: N818 - the name is what happened
    """The server does not let us have the address (any longer)."""


class Unusable(CniError):  # noqa: N818 - the name is what happened
    """The server's answer cannot be configured; asking again would not help."""


class Wishes(NamedTuple):
    """Who we say we are, what we ask for and what we send; the same in every message of a lease."""

    client_id: bytes
    request: tuple[int, ...] = ()
    provide: dict[int, bytes] = {}  # noqa: RUF012 - nobody changes it
    suggest: str = ""

    def to_json(self) -> "dict[str, Any]":
        """For the store."""
        provide = {str(code): value.hex() for code, value in self.provide.items()}
        return self._asdict() | {"client_id": self.client_id.hex(), "provide": provide}

    @classmethod
    def from_json(cls, document: "dict[str, Any]") -> "Wishes":
        """What ``to_json`` wrote.

        Raises:
            ValueError, KeyError, TypeError: it was something else.
        """
        provide = {int(code): bytes.fromhex(text) for code, text in document["provide"].items()}
        return cls(
            bytes.fromhex(document["client_id"]),
            tuple(int(code) for code in document["request"]),
            provide,
            str(document["suggest"]),
        )


class Client(Protocol):
    """One protocol on one link (its text). Each verb opens a socket and closes it."""

    async def acquire(self) -> "Grant":
        """Get an address.

        Raises:
            NoAnswer, Refused: the exchange failed; another may succeed.
            Unusable: what came cannot be used, and was given back.
        """

    async def renew(self, grant: "Grant") -> "Grant":
        """Ask the server that granted for more time.

        Raises:
            NoAnswer, Refused: as above.
        """

    async def rebind(self, grant: "Grant") -> "Grant":
        """Ask any server for more time.

        Raises:
            NoAnswer, Refused: as above.
        """

    def release(self, grant: "Grant") -> None:
        """Give the address back; no answer is awaited.

        Raises:
            CniError: it could not be sent.
        """


async def acquire_patiently(client: Client, flags: "Flags") -> "Grant":
    """Attempt after attempt, for ``-resendtimeout`` in all.

    Raises:
        TryAgain: every attempt failed.
        Unusable, PlaceGone, NetnsError: no attempt can succeed.
    """
    last = f"no server answered {client}"
    try:
        async with asyncio.timeout(flags.resendtimeout):
            for pause in pauses(flags.resendmax):
                try:
                    return await client.acquire()
                except (Unusable, NetnsError):
                    raise
                except CniError as error:
                    last = str(error)
                await asyncio.sleep(pause)
    except TimeoutError:
        pass
    raise TryAgain(f"no more tries: {last}")


async def ask(
    send: "Callable[[], None]",
    receive: "Callable[[], T | None]",
    descriptor: int,
    timeout: float,  # noqa: ASYNC109 - the first of several that grow
    what: str,
) -> "T":
    """Send up to three times and wait for an answer; ``receive`` gives None for any other packet.

    Raises:
        NoAnswer: none came; ``what`` says what was asked.
        KernelError: the link went down.
    """
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, readable.set)
    try:
        for factor in _TRANSMISSIONS:
            send()
            try:
                async with asyncio.timeout(factor * timeout):
                    while True:
                        await readable.wait()
                        readable.clear()
                        answer = receive()
                        if answer is not None:
                            return answer
            except TimeoutError:
                continue
    finally:
        loop.remove_reader(descriptor)
    raise NoAnswer(f"no DHCP server answered {what}")
