"""The time of a write, in microseconds since 1970: what decides which of two writes stands."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_clock_us() -> int:
    """Now, in µs since 1970."""
    return time.time_ns() // 1000


class WriteClock:
    """Write times that strictly grow within the process, whatever the wall clock does."""

    def __init__(self, now_us: Callable[[], int] = wall_clock_us) -> None:
        self._now_us = now_us
        self._last_us = 0

    def now_us(self) -> int:
        """The wall clock as it stands; it may repeat itself."""
        return self._now_us()

    def next_us(self, after_us: int = 0, *, count: int = 1) -> int:
        """The first of `count` consecutive write times, all later than any given before, and than
        `after_us`: the time of the row that this write replaces, which another process with a faster clock
        may have written."""
        first = max(self._now_us(), self._last_us + 1, after_us + 1)
        self._last_us = first + count - 1
        return first
