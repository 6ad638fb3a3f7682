"""Small parts of tweet_svc: months, shards, idempotency keys."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import InvalidArgument
from meshkit.identity import Caller
from tweet_svc.months import between, month_of, previous
from tweet_svc.posting import Post, checked_key
from tweet_svc.sharding import SHARDS, by_shard, shard_of


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


def test_months() -> None:
    assert month_of(ms(2026, 12, 1) - 1) == 202611
    assert month_of(ms(2026, 12, 1)) == 202612
    assert previous(202701) == 202612
    assert between(202611, 202702) == [202702, 202701, 202612, 202611]
    assert between(202611, 202611) == [202611]
    assert between(202611, 202610) == []


@given(st.integers(min_value=0, max_value=4_102_444_800_000))
def test_the_month_before_ends_where_the_month_begins(at_ms: int) -> None:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    first = ms(moment.year, moment.month, 1)
    assert month_of(at_ms) == moment.year * 100 + moment.month
    if first > 0:
        assert month_of(first - 1) == previous(month_of(first))


def test_shards_are_stable_and_even() -> None:
    # Rows lie by these: they may never change.
    assert [shard_of(user) for user in (1, 2, 2**62)] == [15, 5, 4]
    spread = Counter(shard_of(user) for user in range(16_000))
    assert len(spread) == SHARDS
    assert max(spread.values()) < 1.2 * min(spread.values())
    assert by_shard([3, 1, 3]) == {shard_of(1): [1], shard_of(3): [3]}


@pytest.mark.parametrize("key", ["k", " ", "~" * 255, "a/b?c=d"])
def test_good_keys(key: str) -> None:
    assert checked_key([key]) == key


def test_no_key() -> None:
    assert checked_key([]) is None


@pytest.mark.parametrize(
    "values", [[""], ["x" * 256], ["a\tb"], ["a\x7f"], ["\u00e9"], ["a", "b"], [b"bytes"]]
)
def test_bad_keys(values: list[Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_key(values)
    assert caught.value.reason == "IDEMPOTENCY_KEY_INVALID"
    assert [violation.field for violation in caught.value.violations] == ["Idempotency-Key"]


def test_a_fingerprint_tells_requests_apart() -> None:
    ada = Caller(1, "ada")
    posts = [
        Post(ada, "text"),
        Post(ada, "Text"),
        Post(ada, "text", ("a", "b")),
        Post(ada, "text", ("b", "a")),
        Post(ada, "text", ("ab",)),
    ]
    assert len({post.fingerprint for post in posts}) == len(posts)
    assert Post(ada, "text").fingerprint == posts[0].fingerprint
