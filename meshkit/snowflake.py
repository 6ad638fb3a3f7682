"""Snowflake ids: 41 bits of ms since 2015-01-01 UTC, 10 bits of worker, 12 bits of sequence.

Sorted by id is sorted by time; always 19 digits from 2016 to 2084. Unique across processes because a
worker id is leased (`worker_lease`), across restarts and clock steps because a generator never issues
past the reserved ms of its lease, and the next holder starts after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from meshkit.errors import IDS_UNAVAILABLE

EPOCH_MS = 1_420_070_400_000
WORKERS = 1024
_SEQUENCES = 4096
_MAX_MS = (1 << 41) - 1


def wall_clock_ms() -> int:
    """Now, in ms since 1970."""
    return time.time_ns() // 1_000_000


def timestamp_ms(snowflake: int) -> int:
    """When the id was made, in ms since 1970."""
    return (snowflake >> 22) + EPOCH_MS


def first_id_at(ms: int) -> int:
    """The smallest id of that ms since 1970 (0 before the epoch): a bound for range reads."""
    return max(0, ms - EPOCH_MS) << 22


def created_at(snowflake: int) -> str:
    """When the id was made, as RFC 3339 UTC with milliseconds."""
    return rfc3339_ms(timestamp_ms(snowflake))


def rfc3339_ms(ms: int) -> str:
    """`2026-01-02T03:04:05.678Z` for ms since 1970."""
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class SnowflakeGenerator:
    """Makes ids for one leased worker id; for use on one event loop.

    Ids strictly grow as long as the worker id stays, whatever the clock does: when it stands or steps
    back, ids go on from the last ms issued; a full ms borrows the next.
    """

    def __init__(self, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._clock_ms = clock_ms
        self._worker = -1
        self._last_ms = -1
        self._sequence = 0
        self._reserved_until_ms = -1
        self.on_exhausted: Callable[[], None] | None = None

    @property
    def worker(self) -> int:
        """The worker id in use, -1 without a lease."""
        return self._worker

    @property
    def last_ms(self) -> int:
        """The largest ms since 1970 that an id may carry so far."""
        return self._last_ms

    def lease(self, worker: int, after_ms: int, reserved_until_ms: int) -> None:
        """Take over `worker`, whose earlier holders issued nothing past `after_ms`, up to and including
        `reserved_until_ms`."""
        if not 0 <= worker < WORKERS:
            raise ValueError(f"worker {worker} is not in 0..{WORKERS - 1}")
        # A new worker id sorts apart within one ms, so also start past what was issued here.
        self._last_ms = max(after_ms, self._last_ms)
        self._sequence = _SEQUENCES - 1
        self._worker = worker
        self._reserved_until_ms = reserved_until_ms

    def extend(self, reserved_until_ms: int) -> None:
        """The lease now reaches to `reserved_until_ms`."""
        self._reserved_until_ms = max(self._reserved_until_ms, reserved_until_ms)

    def revoke(self) -> None:
        """The worker id is someone else's now."""
        self._worker = -1
        self._reserved_until_ms = -1

    def next_id(self) -> int:
        """A new id. Raises Unavailable (IDS_UNAVAILABLE) without a lease or past its reservation."""
        ms = self._clock_ms()
        last = self._last_ms
        if ms > last:
            sequence = 0
        else:
            ms = last
            sequence = self._sequence + 1
            if sequence == _SEQUENCES:
                ms += 1
                sequence = 0
        if ms > self._reserved_until_ms or ms - EPOCH_MS > _MAX_MS or ms < EPOCH_MS:
            if self.on_exhausted is not None:
                self.on_exhausted()
            raise IDS_UNAVAILABLE.error(retry_delay_s=1.0)
        self._last_ms = ms
        self._sequence = sequence
        return (ms - EPOCH_MS) << 22 | self._worker << 12 | sequence
