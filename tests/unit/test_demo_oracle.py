"""What a home timeline must say, on worlds small enough to be done by hand; and what a check finds."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stack.demo import checking, world
from stack.demo.oracle import Oracle
from stack.demo.world import Like, Person, Retweet, Tweet, World
from stack.errors import StackError

READER, FRIEND, OTHER_FRIEND, STRANGER = range(4)


def small_world(*tweets: Tweet, likes: tuple[Like, ...] = ()) -> World:
    """The reader and two friends of theirs, who have a friend whom the reader does not know."""
    return World(
        name="t",
        seed=0,
        password="secret password",
        friendships=[
            (READER, FRIEND),
            (READER, OTHER_FRIEND),
            (FRIEND, STRANGER),
            (OTHER_FRIEND, STRANGER),
        ],
        people=[Person(n, 1000 + n, f"t_{n:03}", "token", 0.0) for n in range(4)],
        tweets=list(tweets),
        likes=list(likes),
    )


def tweet(tweet_id: int, author: int, at_ms: int, *, deleted: bool = False) -> Tweet:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    created_at = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Tweet(tweet_id, author, f"text {tweet_id}", created_at, deleted)


def feed(made: World, retweets: dict[tuple[int, int], int] | None = None) -> list[dict[str, Any]]:
    made.retweets = [Retweet(actor, tweet_id, 0, 0) for actor, tweet_id in retweets or {}]
    return Oracle(made, retweets or {}).home_timeline(READER)


def ids(shown: list[dict[str, Any]]) -> list[int]:
    return [int(entry["tweet_id"]) for entry in shown]


def test_own_tweets_and_friends_tweets_newest_first() -> None:
    made = small_world(tweet(1, READER, 100), tweet(2, FRIEND, 300), tweet(3, OTHER_FRIEND, 200))
    assert ids(feed(made)) == [2, 3, 1]


def test_in_one_millisecond_the_larger_id_is_first() -> None:
    assert ids(feed(small_world(tweet(8, FRIEND, 5), tweet(9, READER, 5)))) == [9, 8]


def test_strangers_and_deleted_tweets_stand_nowhere() -> None:
    made = small_world(tweet(1, STRANGER, 1), tweet(2, FRIEND, 2, deleted=True))
    assert feed(made, {(FRIEND, 2): 3}) == []


def test_a_stranger_stands_where_the_earliest_retweet_was() -> None:
    made = small_world(tweet(1, STRANGER, 100), tweet(2, FRIEND, 200), tweet(3, FRIEND, 300))
    shown = feed(made, {(OTHER_FRIEND, 1): 250, (FRIEND, 1): 400})
    assert [(int(e["tweet_id"]), e["retweeted_by"]) for e in shown] == [
        (3, ""),
        (1, "t_002"),
        (2, ""),
    ]
    assert shown[1]["retweets_count"] == 2


def test_ones_own_retweet_brings_nothing_in_and_a_friends_tweet_stays() -> None:
    made = small_world(tweet(1, STRANGER, 100), tweet(2, FRIEND, 200), tweet(3, READER, 300))
    shown = feed(made, {(READER, 1): 400, (OTHER_FRIEND, 2): 500, (READER, 2): 600})
    assert ids(shown) == [3, 2]
    assert shown[1]["retweeted"]
    assert shown[1]["retweeted_by"] == ""
    assert shown[1]["retweets_count"] == 2


def test_an_entry_says_all_that_the_api_says() -> None:
    made = small_world(
        tweet(7, FRIEND, 1_700_000_000_123), likes=(Like(READER, 7), Like(STRANGER, 7))
    )
    assert feed(made) == [
        {
            "tweet_id": "7",
            "user_id": "1001",
            "username": "t_001",
            "content": "text 7",
            "media_ids": [],
            "created_at": "2023-11-14T22:13:20.123Z",
            "likes_count": 2,
            "retweets_count": 0,
            "liked": True,
            "retweeted": False,
            "retweeted_by": "",
        }
    ]


def test_profiles_count_what_stands() -> None:
    made = small_world(tweet(1, FRIEND, 1), tweet(2, FRIEND, 2, deleted=True))
    assert Oracle(made, {}).profile(FRIEND) == {
        "followers_count": 2,
        "following_count": 2,
        "tweets_count": 1,
    }


def test_a_recorded_world_comes_back_and_is_nobody_elses(tmp_path: Path) -> None:
    made = small_world(tweet(1, FRIEND, 1), likes=(Like(READER, 1),))
    made.retweets = [Retweet(OTHER_FRIEND, 1, 5, 6)]
    file = tmp_path / "demo" / "t.json"
    world.write(made, file)
    assert world.read(file) == made
    assert world.newest(file.parent) == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, "", "{}", '{"people": 1}'])
def test_what_is_no_world_is_said_so(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "w.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StackError, match=r"w\.json"):
        world.read(file)


EXPECTED = feed(small_world(*(tweet(n, FRIEND, n) for n in range(1, 6))))


def test_equal_timelines_have_no_difference() -> None:
    assert checking.differences(EXPECTED, list(EXPECTED)) == []
    assert checking.differences([], []) == []


def test_a_missing_tweet_is_named_with_its_place() -> None:
    (found,) = checking.differences(EXPECTED, EXPECTED[:1] + EXPECTED[2:])
    assert "misses tweet 4 by t_001" in found
    assert "place 2 of 5" in found


def test_a_doubled_tweet_is_named() -> None:
    (found,) = checking.differences(EXPECTED, EXPECTED + EXPECTED[:1])
    assert found.startswith("shows tweet 5 by t_001")
    assert found.endswith("2 times")


def test_a_tweet_too_much_is_named() -> None:
    (found,) = checking.differences(EXPECTED[1:], EXPECTED)
    assert "shows tweet 5" in found
    assert "does not belong" in found


def test_a_wrong_order_is_named() -> None:
    swapped = [EXPECTED[0], EXPECTED[2], EXPECTED[1], *EXPECTED[3:]]
    (found,) = checking.differences(EXPECTED, swapped)
    assert "out of order from place 2 on: tweet 3 stands before 4" in found


def test_what_a_tweet_says_is_compared() -> None:
    changed = [{**EXPECTED[0], "likes_count": 7}, *EXPECTED[1:]]
    assert checking.differences(EXPECTED, changed) == ["tweet 5: likes_count is 7 and not 0"]
    without = {name: value for name, value in EXPECTED[0].items() if name != "media_ids"}
    assert checking.differences(EXPECTED, [without, *EXPECTED[1:]]) != []
