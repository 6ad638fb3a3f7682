"""Reads again what is not right yet, until it is, or until it should have been.

The 30 s run from the last fault's end, or from the last answer if that came later. What is read from then on
must be right: a feed counts as wrong only if a reading of it that was begun after the deadline is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from .checker import FeedName, Follows, Reading, Violation, check
from .history import Ledger

WITHIN_S = 30.0
POLL_S = 0.5

Reader = Callable[[Iterable[FeedName]], Awaitable[Reading]]


@dataclass
class Settled:
    """What was read last, what is still wrong with it, and when the last wrong feed became right."""

    reading: Reading
    violations: list[Violation]
    after_s: float
    """From the start of the reading to the start of the round that found all right (or gave up)."""


async def settle(
    names: Iterable[FeedName],
    read: Reader,
    ledger: Ledger,
    follows: Follows,
    *,
    within_s: float = WITHIN_S,
    now: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Settled:
    """Reads all feeds, and again those that are wrong, for `within_s`."""
    now = now or asyncio.get_running_loop().time
    every = set(names)
    reading, suspects = Reading(), every
    start = now()
    while True:
        begun = now()
        latest = await read(suspects)
        reading.feeds |= latest.feeds
        reading.counts |= latest.counts
        violations = check(ledger, reading, follows)
        if not violations or begun - start >= within_s:
            return Settled(reading, violations, begun - start)
        suspects = {name for violation in violations for name in violation.feeds} & every
        # What no feed can mend (one key with two ids) needs no further reading.
        if not suspects:
            return Settled(reading, violations, begun - start)
        await sleep(min(POLL_S, max(0.0, start + within_s - now())))
