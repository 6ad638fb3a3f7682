"""Write times: microseconds since 1970 that strictly grow within the process."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_clock_us() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000


class WriteClock:
    """Gives each write a time of its own, also when the wall clock stands or steps back."""

    def __init__(self, clock_us: Callable[[], int] = wall_clock_us) -> None:
        self._clock_us = clock_us
        self._last_us = 0

    def next_us(self, count: int = 1, *, after_us: int = 0) -> int:
        """The first of `count` consecutive times, all later than `after_us` and than any given before."""
        first = max(self._clock_us(), self._last_us + 1, after_us + 1)
        self._last_us = first + count - 1
        return first
