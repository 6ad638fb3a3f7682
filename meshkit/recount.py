"""Debounced recounts: many marks of one key become few runs, and each marker waits for a run that saw it.

A count is exact at rest because the run that ends a burst began after the burst's last write, and because
what it found is stored under the time at which it began: of two recounts the one that began later, and so
saw more, stands (`of_the_newest` sees to that when clocks differ).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from meshkit.errors import Unavailable
from meshkit.write_clock import WriteClock

_RECOUNTS = 8

K = TypeVar("K")
T = TypeVar("T")


async def of_the_newest(
    times: WriteClock, recount: Callable[[int], Awaitable[tuple[T, int]]]
) -> tuple[T, int]:
    """What `recount(as_of_us)` finds when nothing in it is of a later time than its own; and that time.

    It is given the time before it reads, stores what it counts under it, and returns what it found with
    the latest time in it. If that is another process's, recounting at the same moment or by a faster clock,
    it counts once more, later than that: so neither that store nor whoever hears both results can hold
    the older for the newer. `times` must not be the clock of other writes, which another process's time
    would drive ahead. Raises Unavailable if that does not end.
    """
    after_us = 0
    for _ in range(_RECOUNTS):
        as_of_us = times.next_us(after_us)
        found, newest_us = await recount(as_of_us)
        if newest_us <= as_of_us:
            return found, as_of_us
        after_us = newest_us
    raise Unavailable("a count does not come to rest")


class _Key:
    """One dirty key: who waits, and how far its runs are apart."""

    __slots__ = ("interval_s", "started_at", "waiters")

    def __init__(self, interval_s: float) -> None:
        self.waiters: list[asyncio.Future[None]] = []
        self.interval_s = interval_s
        self.started_at = float("-inf")


class Recounter(Generic[K]):
    """Runs `recount(key)` for marked keys: one at a time a key, `concurrency` at once over all keys.

    Runs of one key start `min_interval_s` apart, growing to `max_interval_s` while it is always dirty.
    The first mark of a quiet key runs at once.
    """

    def __init__(
        self,
        recount: Callable[[K], Awaitable[None]],
        *,
        min_interval_s: float = 0.1,
        max_interval_s: float = 1.0,
        concurrency: int = 16,
    ) -> None:
        self._recount = recount
        self._min_s = min_interval_s
        self._max_s = max_interval_s
        self._slots = asyncio.Semaphore(concurrency)
        self._keys: dict[K, _Key] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def mark(self, key: K) -> None:
        """Return once a run of `key` that began after this call is done; raises what that run raised."""
        loop = asyncio.get_running_loop()
        state = self._keys.get(key)
        if state is None:
            state = self._keys[key] = _Key(self._min_s)
            task = loop.create_task(self._work(key, state))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        future: asyncio.Future[None] = loop.create_future()
        state.waiters.append(future)
        await future

    @property
    def dirty(self) -> int:
        """How many keys wait for a run, have one under way, or had one just now."""
        return len(self._keys)

    async def _work(self, key: K, state: _Key) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                if state.waiters:
                    async with self._slots:
                        await self._once(key, state)
                pause_s = state.started_at + state.interval_s - loop.time()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
                if not state.waiters:
                    return
                state.interval_s = min(state.interval_s * 1.5, self._max_s)
        finally:
            del self._keys[key]
            for future in state.waiters:
                future.cancel()

    async def _once(self, key: K, state: _Key) -> None:
        # Whoever marks from here on waits for the next run: this one may already have read.
        waiters, state.waiters = state.waiters, []
        state.started_at = asyncio.get_running_loop().time()
        try:
            await self._recount(key)
        except Exception as error:
            for future in waiters:
                if not future.done():
                    future.set_exception(error)
        except BaseException:
            for future in waiters:
                future.cancel()
            raise
        else:
            for future in waiters:
                if not future.done():
                    future.set_result(None)
