"""Recounts: few runs for many marks, and nobody is told before a run that saw their mark is done."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from meshkit.errors import Unavailable
from meshkit.recount import Recounter, of_the_newest
from meshkit.write_clock import WriteClock
from tests.conftest import until


async def test_a_quiet_key_runs_at_once_and_a_burst_runs_few_times() -> None:
    runs: list[float] = []
    loop = asyncio.get_running_loop()

    async def recount(key: str) -> None:
        runs.append(loop.time())
        await asyncio.sleep(0.001)

    recounter = Recounter(recount, min_interval_s=0.02, max_interval_s=0.1)
    began = loop.time()
    await recounter.mark("a")
    assert loop.time() - began < 0.015
    await asyncio.gather(*(recounter.mark("a") for _ in range(1_000)))
    assert len(runs) == 2
    assert runs[1] - runs[0] >= 0.019


async def test_each_marker_hears_of_a_run_that_began_after_its_mark() -> None:
    written: Counter[int] = Counter()
    counted: Counter[int] = Counter()
    running: Counter[int] = Counter()
    runs = 0

    async def recount(key: int) -> None:
        nonlocal runs
        runs += 1
        running[key] += 1
        assert running[key] == 1, "one run at a time a key"
        seen = written[key]
        await asyncio.sleep(random.uniform(0, 0.004))
        counted[key] = seen
        running[key] -= 1

    recounter = Recounter(recount, min_interval_s=0.002, max_interval_s=0.01, concurrency=3)

    async def writer() -> None:
        for _ in range(20):
            key = random.randrange(8)
            written[key] += 1
            mine = written[key]
            await recounter.mark(key)
            assert counted[key] >= mine

    await asyncio.gather(*(writer() for _ in range(50)))
    assert counted == written
    assert runs < 1_000


async def test_a_failed_run_is_told_to_its_markers_only() -> None:
    fail = True

    async def recount(key: str) -> None:
        if fail:
            raise OSError("no store")

    recounter = Recounter(recount, min_interval_s=0.001)
    with pytest.raises(OSError, match="no store"):
        await recounter.mark("a")
    fail = False
    await recounter.mark("a")


async def test_a_key_always_dirty_slows_down() -> None:
    runs = 0

    async def recount(key: str) -> None:
        nonlocal runs
        runs += 1

    recounter = Recounter(recount, min_interval_s=0.005, max_interval_s=0.1)
    end = asyncio.get_running_loop().time() + 0.5

    async def writer() -> None:
        while asyncio.get_running_loop().time() < end:
            marks.append(asyncio.create_task(recounter.mark("a")))
            await asyncio.sleep(0.001)

    marks: list[asyncio.Task[None]] = []
    await writer()
    await asyncio.gather(*marks)
    assert runs <= 20


async def test_keys_are_forgotten() -> None:
    async def recount(key: int) -> None:
        return None

    recounter = Recounter(recount, min_interval_s=0.001)
    await asyncio.gather(*(recounter.mark(key) for key in range(100)))
    await until(lambda: recounter.dirty == 0)


async def test_a_count_is_stored_later_than_what_a_faster_clock_stored() -> None:
    """What stands is decided by write times alone, so a count that saw more must bear the later one."""
    stored = (7, 5_000)  # by a process whose clock is ahead
    began: list[int] = []

    async def recount(as_of_us: int) -> tuple[int, int]:
        nonlocal stored
        began.append(as_of_us)
        if as_of_us > stored[1]:
            stored = (8, as_of_us)
        return stored

    assert await of_the_newest(WriteClock(lambda: 1_000), recount) == (8, 5_001)
    assert began == [1_000, 5_001]


async def test_a_count_that_others_always_outrun_is_given_back() -> None:
    async def recount(as_of_us: int) -> tuple[int, int]:
        return 0, as_of_us + 1

    with pytest.raises(Unavailable):
        await of_the_newest(WriteClock(lambda: 1_000), recount)
