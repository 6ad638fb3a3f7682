"""Where a tweet stands in a cached timeline, and what it is flagged with, event by event."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starling.tweet.v1.tweet_events_pb2 import LikeChanged, RetweetChanged, TweetEvent
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.config import MeshConfig
from meshkit.snowflake import timestamp_ms
from tests.integration.timeline_rig import (
    AUTHOR,
    READER,
    STRANGER,
    Mesh,
    connected,
    posted,
    shows,
    wanted,
)
from tests.integration.world import FLAGS, START_MS
from timeline_svc.line import Line

FRIEND = 4


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(cache_config: MeshConfig) -> AsyncIterator[Mesh]:
    """The reader follows the author and a friend; a stranger has tweeted."""
    async with connected(cache_config.redis_url) as redis:
        made = Mesh(redis, cache_config.redis_prefix, entries=1000, celebrity_followers=100)
        made.world.follows[READER] |= {AUTHOR, FRIEND}
        made.world.post(STRANGER, START_MS)
        made.world.post(AUTHOR, START_MS + 1)
        yield made
        await made.flush()


def retweet_changed(activity: Activity | None, retweeted: bool, changed_ms: int) -> TweetEvent:
    change = RetweetChanged(activity=activity, retweeted=retweeted, changed_us=changed_ms * 1000)
    return TweetEvent(retweet_changed=change)


async def test_a_retweet_undone_leaves_the_next_ones_place(mesh: Mesh) -> None:
    stranger = next(iter(mesh.world.tweets))
    await shows(mesh)
    for number, followee in enumerate((AUTHOR, FRIEND), start=START_MS + 10):
        made = mesh.world.retweet(followee, stranger, number)
        await mesh.handle(retweet_changed(made, True, number))
        assert await shows(mesh) == wanted(mesh)
    assert (stranger, f"user{AUTHOR}") in await shows(mesh)
    undone = mesh.world.unretweet(AUTHOR, stranger)
    await mesh.handle(retweet_changed(undone, False, START_MS + 20))
    assert (stranger, f"user{FRIEND}") in await shows(mesh)
    assert await shows(mesh) == wanted(mesh)
    undone = mesh.world.unretweet(FRIEND, stranger)
    await mesh.handle(retweet_changed(undone, False, START_MS + 21))
    assert await shows(mesh) == wanted(mesh)


async def test_a_followees_tweet_keeps_its_own_place(mesh: Mesh) -> None:
    await shows(mesh)
    theirs = mesh.world.post(AUTHOR, START_MS + 5)
    retweeted = mesh.world.retweet(FRIEND, theirs.tweet_id, START_MS + 9)
    # The retweet is heard of first.
    await mesh.handle(retweet_changed(retweeted, True, START_MS + 9))
    await mesh.handle(posted(mesh, mesh.world.post(FRIEND, START_MS + 7)))
    assert theirs.tweet_id not in dict(await shows(mesh)), "it has not come yet"
    await mesh.handle(posted(mesh, theirs))
    assert await shows(mesh) == wanted(mesh)


async def test_of_changes_out_of_order_the_later_stands(mesh: Mesh) -> None:
    (tweet_id,) = dict(await shows(mesh))
    for liked, changed_us in ((False, START_MS * 1000 + 2), (True, START_MS * 1000 + 1)):
        change = LikeChanged(tweet_id=tweet_id, user_id=READER, liked=liked, changed_us=changed_us)
        await mesh.handle(TweetEvent(like_changed=change))
    assert [tweet.liked for tweet in await mesh.read(READER, 20)] == [False]


@pytest.mark.parametrize("likes_since", [0, FLAGS])
async def test_a_retweet_of_what_was_liked_before_is_shown_as_liked(
    mesh: Mesh, likes_since: int
) -> None:
    """Also when so much was liked since that the rebuild did not ask for all of it."""
    stranger = next(iter(mesh.world.tweets))
    mesh.world.likes[stranger, READER] = START_MS * 1000
    for number in range(likes_since):
        newer = mesh.world.post(STRANGER, START_MS + 1 + number)
        mesh.world.likes[newer.tweet_id, READER] = START_MS * 1000
    await shows(mesh)
    made = mesh.world.retweet(AUTHOR, stranger, START_MS + 10)
    await mesh.handle(retweet_changed(made, True, START_MS + 10))
    first, _ = await mesh.read(READER, 20)
    assert (first.tweet_id, first.liked) == (stranger, True)


async def flagged(mesh: Mesh, tweet_ids: list[int]) -> list[bool | None]:
    """Whether the reader likes these, as their cached timeline has it; None: it does not say."""
    lines = [Line(timestamp_ms(each), each, flags_known=False) for each in tweet_ids]
    await mesh.cache.flag(READER, lines)
    return [line.liked if line.flags_known else None for line in lines]


async def test_likes_of_tweets_outside_the_feed_are_known_down_to_the_floor(mesh: Mesh) -> None:
    posts = [mesh.world.post(STRANGER, START_MS + number).tweet_id for number in range(FLAGS + 2)]
    oldest, first, *liked, last = posts
    for tweet_id in (first, *liked):
        mesh.world.likes[tweet_id, READER] = START_MS * 1000
    assert await flagged(mesh, posts) == [None] * len(posts), "nothing is cached"
    await shows(mesh)
    assert await flagged(mesh, posts) == [None, True, *[True] * len(liked), False]
    for tweet_id, likes in ((first, False), (last, True), (oldest, True)):
        change = LikeChanged(
            tweet_id=tweet_id, user_id=READER, liked=likes, changed_us=START_MS * 1000 + 1
        )
        await mesh.handle(TweetEvent(like_changed=change))
    # Of the oldest only the like is known, and not whether it was retweeted.
    assert await flagged(mesh, posts) == [None, False, *[True] * len(liked), True]
