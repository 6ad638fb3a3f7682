"""Write times and the locks by key: what keeps the writes of one process in order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from meshkit.keyed_lock import KeyedLock
from meshkit.write_clock import WriteClock


def test_write_times_grow_whatever_the_clock_does() -> None:
    wall = iter([100, 90, 90, 500, 500, 2000])
    clock = WriteClock(lambda: next(wall))
    assert clock.next_us() == 100
    assert clock.next_us(count=10) == 101
    assert clock.next_us() == 111
    # Later than the row it replaces, though another process has written that ahead of our clock.
    assert clock.next_us(after_us=800) == 801
    assert clock.next_us() == 802
    assert clock.next_us() == 2000


async def test_a_lock_keeps_order_and_forgets() -> None:
    locks, running, seen = KeyedLock(), Counter[str](), []

    async def work(key: str, number: int) -> None:
        async with locks.hold(key):
            running[key] += 1
            assert running[key] == 1
            seen.append((key, number))
            await asyncio.sleep(0)
            running[key] -= 1

    await asyncio.gather(*(work(key, number) for number in range(5) for key in "ab"))
    assert [number for key, number in seen if key == "a"] == [0, 1, 2, 3, 4]
    assert len(locks) == 0


async def test_several_keys_are_held_without_rings_of_waiters() -> None:
    locks = KeyedLock()
    inside: set[tuple[int, int]] = set()
    chance = random.Random(1)

    async def work() -> None:
        pairs = {(chance.randrange(3), chance.randrange(3)) for _ in range(4)}
        async with locks.hold_all(pairs):
            assert not inside & pairs
            inside.update(pairs)
            await asyncio.sleep(0)
            inside.difference_update(pairs)

    async with asyncio.timeout(5):
        await asyncio.gather(*(work() for _ in range(200)))
    assert len(locks) == 0


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    locks = KeyedLock()

    async def wait() -> None:
        async with locks.hold_all([(1, 2), (3, 4)]):
            raise AssertionError("was not to get in")

    async with locks.hold((3, 4)):
        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert len(locks) == 1
    assert len(locks) == 0
