"""Snowflake ids: unique and growing, whatever the clock does; nothing past the reservation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit import snowflake
from meshkit.errors import Unavailable
from meshkit.snowflake import EPOCH_MS, SnowflakeGenerator

NOW_MS = 1_790_000_000_000


class SteppedClock:
    """A clock in ms that a test moves, in either direction."""

    def __init__(self, at_ms: int = NOW_MS) -> None:
        self.at_ms = at_ms

    def __call__(self) -> int:
        return self.at_ms


@given(st.lists(st.integers(-5_000, 5_000), min_size=1, max_size=200), st.integers(0, 1023))
def test_ids_grow_while_the_clock_steps_both_ways(steps: list[int], worker: int) -> None:
    clock = SteppedClock()
    ids = SnowflakeGenerator(clock)
    ids.lease(worker, 0, NOW_MS + 10_000_000)
    made = []
    for step in steps:
        clock.at_ms += step
        made += [ids.next_id() for _ in range(3)]
    assert made == sorted(set(made))
    assert {each >> 12 & 1023 for each in made} == {worker}
    assert all(len(str(each)) == 19 for each in made)


def test_a_full_millisecond_borrows_the_next() -> None:
    ids = SnowflakeGenerator(SteppedClock())
    ids.lease(7, 0, NOW_MS + 10)
    made = [ids.next_id() for _ in range(3 * 4096)]
    assert len(set(made)) == len(made)
    assert snowflake.timestamp_ms(made[-1]) == NOW_MS + 2


def test_nothing_is_issued_past_the_reservation() -> None:
    clock = SteppedClock()
    ids = SnowflakeGenerator(clock)
    wanted = []
    ids.on_exhausted = lambda: wanted.append(True)
    with pytest.raises(Unavailable):
        ids.next_id()
    ids.lease(1, 0, NOW_MS + 5)
    ids.next_id()
    clock.at_ms += 6
    with pytest.raises(Unavailable, match="ids cannot be made"):
        ids.next_id()
    assert len(wanted) == 2
    ids.extend(NOW_MS + 60_000)
    assert snowflake.timestamp_ms(ids.next_id()) == NOW_MS + 6
    ids.revoke()
    with pytest.raises(Unavailable):
        ids.next_id()


@given(st.integers(-2_000, 2_000), st.integers(0, 5_000))
def test_a_new_holder_starts_past_the_old_reservation(skew_ms: int, count: int) -> None:
    old_clock = SteppedClock()
    old = SnowflakeGenerator(old_clock)
    old.lease(3, 0, NOW_MS + 1_000)
    first = [old.next_id() for _ in range(count)]
    new = SnowflakeGenerator(SteppedClock(NOW_MS + skew_ms))
    new.lease(3, NOW_MS + 1_000, NOW_MS + 120_000)
    second = new.next_id()
    assert all(second > each for each in first)
    old_clock.at_ms = NOW_MS + 1_000
    assert old.next_id() < second


@given(st.integers(0, (1 << 63) - 1))
def test_times_read_back(made: int) -> None:
    ms = snowflake.timestamp_ms(made)
    assert snowflake.first_id_at(ms) <= made < snowflake.first_id_at(ms + 1)
    text = snowflake.created_at(made)
    assert text == snowflake.rfc3339_ms(ms)
    assert len(text) == 24


def test_rfc3339() -> None:
    assert snowflake.rfc3339_ms(EPOCH_MS) == "2015-01-01T00:00:00.000Z"
    assert snowflake.rfc3339_ms(1_767_323_045_678) == "2026-01-02T03:04:05.678Z"
