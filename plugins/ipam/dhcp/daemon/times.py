"""When a lease is renewed, rebound and over (RFC 2131 section 4.4.5, RFC 8415 section 14.2).

Points in time are seconds of CLOCK_BOOTTIME: it goes on in suspend, nobody sets it, and it is the
same for a daemon that is started again.
"""

import asyncio
import random
import time
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

INFINITE = 0xFFFFFFFF
DEFAULT_LEASE = 3600
_LONGEST_NAP = 60.0
"""Seconds; asyncio's clock stands still in suspend, so a long sleep is looked at now and then."""

_FIRST_PAUSES, _FIRST_PAUSE, _SHORTEST = 4, 2.0, 1.0
_JITTER = 1.0


class Times(NamedTuple):
    """When the lease was given, and how many seconds later T1, T2 and its end are."""

    obtained: float
    t1: float
    t2: float
    length: float

    @property
    def renew_at(self) -> float:
        """T1: the server is asked for more."""
        return self.obtained + self.t1

    @property
    def rebind_at(self) -> float:
        """T2: any server is asked for more."""
        return self.obtained + self.t2

    @property
    def expires_at(self) -> float:
        """The address must not be used any longer."""
        return self.obtained + self.length

    @classmethod
    def of(cls, length: int, t1: int, t2: int, *, ratios: tuple[float, float]) -> "Times":
        """From now on; what is left out (0) or out of order becomes a part of the length."""
        if not 0 < t2 < length:
            t2 = 0
        if not 0 < t1 <= (t2 or length * ratios[1]):
            t1 = 0
        default1, default2 = (length * ratio for ratio in ratios)
        late = t2 or max(default2, float(t1))
        return cls(now(), t1 or min(default1, late), late, length)


def now() -> float:
    """Seconds of CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def sleep_until(point: float) -> None:
    """Sleep until that point in time."""
    while (left := point - now()) > 0:  # noqa: ASYNC110 - nobody else would set the event
        await asyncio.sleep(min(left, _LONGEST_NAP))


def next_try(moment: float, limit: float, longest: float) -> float:
    """When to ask again: half the way to ``limit``, but ``longest`` seconds at most.

    RFC 2131 says half of what is left, though not sooner than in a minute; leases shorter than that
    would then be lost without another try.
    """
    left = max(limit - moment, 0.0)
    return moment + min(left, max(min(left / 2, longest), _SHORTEST))


def pauses(longest: float) -> "Iterator[float]":
    """Seconds between attempts to get a lease: 2 four times, then 4, 8, ...; plus or minus 1."""
    pause = _FIRST_PAUSE
    for attempt in range(1 << 30):
        if attempt >= _FIRST_PAUSES:
            pause = min(2 * pause, longest)
        yield max(min(pause, longest) + random.uniform(-_JITTER, _JITTER), 0.0)  # noqa: S311
