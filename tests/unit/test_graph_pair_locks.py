"""Edges are read and written by one call at a time, without rings of waiters."""

from __future__ import annotations

import asyncio
import random

from graph_svc.clock import WriteClock
from graph_svc.pair_locks import PairLocks


async def test_a_pair_is_held_by_one_at_a_time() -> None:
    locks = PairLocks()
    inside: set[tuple[int, int]] = set()
    chance = random.Random(1)

    async def work() -> None:
        pairs = {(chance.randrange(3), chance.randrange(3)) for _ in range(4)}
        async with locks.hold(pairs):
            assert not inside & pairs
            inside.update(pairs)
            await asyncio.sleep(0)
            inside.difference_update(pairs)

    async with asyncio.timeout(5):
        await asyncio.gather(*(work() for _ in range(200)))
    assert len(locks) == 0


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    locks = PairLocks()

    async def wait() -> None:
        async with locks.hold([(1, 2), (3, 4)]):
            raise AssertionError("was not to get in")

    async with locks.hold([(3, 4)]):
        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert len(locks) == 1
    assert len(locks) == 0


def test_write_times_grow_whatever_the_clock_does() -> None:
    times = iter([100, 90, 90, 500, 500])
    clock = WriteClock(lambda: next(times))
    assert clock.next_us() == 100
    assert clock.next_us(10) == 101
    assert clock.next_us() == 111
    assert clock.next_us(after_us=800) == 801
    assert clock.next_us() == 802
