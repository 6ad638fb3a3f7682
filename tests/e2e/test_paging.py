"""A feed of five thousand tweets by a dozen authors who posted at once: each stands once, in its place."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from starling.tweet.v1.tweet_service_pb2 import PostTweetRequest, PostTweetResponse

from meshkit.background import gather_bounded
from stack.demo.loading import patiently
from stack.operator import acting_for

from .at_once import at_once, flushing, meanwhile, unique
from .mesh import Mesh, eventually
from .rest import Answer, Person, Rest

# The first test of the crowd has it post.
pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

Register = Callable[[int], list[Person]]
AUTHORS, TWEETS, CACHED = 12, 5000, 1000
POSTS_AT_ONCE = 48
RESTS_WITHIN_S = 30.0
LONG = "STARLING_LONG" in os.environ


@dataclass
class Crowd:
    """A reader of a dozen authors, and the ids of what these have posted, newest first."""

    reader: Person
    authors: list[Person]
    author_of: dict[str, Person]
    ids: list[str]


@pytest.fixture(scope="module")
def crowd(mesh: Mesh, rest: Rest) -> Crowd:
    reader, *authors = at_once([rest.register] * (1 + AUTHORS), 4)
    for author in authors:
        reader.follow(author)
    posted = asyncio.run(_post_at_once(mesh, authors))
    newest_first = sorted(posted, key=lambda p: (p[1].created_at, p[1].tweet_id), reverse=True)
    assert len({answer.created_at for _, answer in posted}) < TWEETS, "none share a millisecond"
    crowd = Crowd(
        reader,
        authors,
        {str(answer.tweet_id): author for author, answer in posted},
        [str(answer.tweet_id) for _, answer in newest_first],
    )
    eventually(lambda: reader.home_ids() == crowd.ids, RESTS_WITHIN_S, "the fan-out", every_s=0.5)
    return crowd


async def _post_at_once(
    mesh: Mesh, authors: list[Person]
) -> list[tuple[Person, PostTweetResponse]]:
    """Past the edge, which would take as long again."""
    async with mesh.operator() as operator:

        async def post(number: int) -> tuple[Person, PostTweetResponse]:
            author = authors[number % AUTHORS]
            answer = await patiently(
                operator.tweets.PostTweet,
                PostTweetRequest(content=f"tweet {number}"),
                [
                    *acting_for(int(author.user_id), author.username),
                    ("idempotency-key", f"{author.username}-{number}"),
                ],
            )
            return author, answer

        return await gather_bounded(POSTS_AT_ONCE, post, range(TWEETS))


@pytest.mark.parametrize("limit", [7, 20, 100])
def test_each_once_and_in_order(crowd: Crowd, limit: int) -> None:
    assert crowd.reader.home_ids(limit) == crowd.ids


def test_the_same_one_by_one(crowd: Crowd) -> None:
    """In stretches of a hundred side by side: those around the end of the cached part and at the end of
    the feed, or, with STARLING_LONG=1, all of them."""
    pages = _pages(crowd.reader, 100)
    assert [tweet_id for _, ids in pages for tweet_id in ids] == crowd.ids
    edge = CACHED // 100
    chosen = pages if LONG else [pages[0], *pages[edge - 1 : edge + 2], *pages[-2:]]

    def stretch(cursor: str, wanted: list[str]) -> None:
        seen: list[str] = []
        while len(seen) < len(wanted):
            page = _page(crowd.reader, 1, cursor)
            seen += [tweet["tweet_id"] for tweet in page["tweets"]]
            cursor = page["next_cursor"]
        assert seen == wanted
        assert bool(cursor) == (wanted[-1] != crowd.ids[-1]), "the end is the end"

    at_once([lambda c=c, w=w: stretch(c, w) for c, w in chosen], 8)  # type: ignore[misc]


def test_the_most_popular_are_found_past_the_cache(crowd: Crowd, register: Register) -> None:
    loved, shared = crowd.ids[-1], crowd.ids[-2]
    for fan in register(2):
        fan.like(loved)
        fan.retweet(shared)

    def found() -> bool:
        return [tweet["tweet_id"] for tweet in crowd.reader.popular(2)] == [shared, loved]

    eventually(found, RESTS_WITHIN_S, "the two tweets that somebody liked")


def test_paging_while_others_post_like_and_delete(
    crowd: Crowd, mesh: Mesh, register: Register, lap: int
) -> None:
    chance = random.Random(lap)
    newcomer, fan = register(2)
    crowd.reader.follow(newcomer)
    doomed = chance.sample(crowd.ids, 60)
    stays = [tweet_id for tweet_id in crowd.ids if tweet_id not in set(doomed)]
    left = list(doomed)

    def delete() -> None:
        if left:
            tweet_id = left.pop()
            crowd.author_of[tweet_id].delete(tweet_id)

    with meanwhile(
        lambda: newcomer.post(unique()),
        lambda: fan.like(chance.choice(stays)),
        delete,
        flushing(mesh, 0.5),
    ):
        seen = crowd.reader.home_ids(20)
    assert [tweet_id for tweet_id in seen if tweet_id in set(stays)] == stays
    assert len(set(seen)) == len(seen)
    assert [int(i) for i in seen] == sorted((int(i) for i in seen), reverse=True)
    while left:
        delete()
    crowd.ids = stays
    crowd.reader.unfollow(newcomer)
    eventually(
        lambda: crowd.reader.home_ids() == stays, RESTS_WITHIN_S, "the deletions", every_s=0.5
    )


def _pages(reader: Person, limit: int) -> list[tuple[str, list[str]]]:
    """All pages: the cursor that leads to each, and its ids."""
    pages: list[tuple[str, list[str]]] = []
    cursor = ""
    while True:
        page = _page(reader, limit, cursor)
        pages.append((cursor, [tweet["tweet_id"] for tweet in page["tweets"]]))
        cursor = page["next_cursor"]
        if not cursor:
            return pages


def _page(reader: Person, limit: int, cursor: str) -> Answer:
    return reader.call("GET", "/v1/timeline/home", params={"limit": limit, "cursor": cursor})
