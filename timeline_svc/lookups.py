"""What timelines ask of the other services, in batches of the size each call allows."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from starling.graph.v1.graph_lookup_service_pb2 import (
    BatchGetUsersRequest,
    ListFolloweeIdsRequest,
    ListFollowerIdsRequest,
)
from starling.graph.v1.graph_lookup_service_pb2_grpc import GraphLookupServiceStub
from starling.graph.v1.user_pb2 import User
from starling.tweet.v1.tweet_lookup_service_pb2 import (
    AuthorActivity,
    BatchGetTweetsRequest,
    BatchGetViewerFlagsRequest,
    FindEarliestRetweetsRequest,
    ListActivityRequest,
    ListViewerFlagsRequest,
)
from starling.tweet.v1.tweet_lookup_service_pb2_grpc import TweetLookupServiceStub
from starling.tweet.v1.tweet_pb2 import Activity, Position, Tweet

from meshkit.channel import MeshChannel
from meshkit.chunks import chunks
from meshkit.errors import Unavailable, Unimplemented
from meshkit.log import get_logger

AUTHORS_A_CALL = 500
TWEETS_A_CALL = 1000
USERS_A_CALL = 1000
ID_PAGE = 10_000
CONCURRENCY = 8

NOTHING_KNOWN = 2**63 - 1
"""A floor of flags above all ids."""

T = TypeVar("T")

log = get_logger(__name__)


class Flags(NamedTuple):
    """What a viewer likes and has retweeted."""

    of_tweets: dict[int, tuple[int, int]]
    """Tweet id -> microseconds of the like and of the retweet, 0 where there is none."""
    floor: int
    """A tweet with this id or a larger one that is not in `of_tweets` has neither."""


class FollowerPage(NamedTuple):
    """Some of a user's followers."""

    follower_ids: Sequence[int]
    """In no order, each once."""
    followers_count: int
    """Of the user, on every page."""
    next_token: bytes
    """Of the page after this one, b"" after the last."""


class Lookups:
    """Typed calls to tweet_svc and graph_svc. Raises the services' errors as StarlingErrors."""

    def __init__(self, channel: MeshChannel) -> None:
        self._tweets = TweetLookupServiceStub(channel)
        self._graph = GraphLookupServiceStub(channel)
        self._gate = asyncio.Semaphore(CONCURRENCY)

    async def activity(
        self, author_ids: Sequence[int], before: Position | None, limit: int, since_ms: int = 0
    ) -> list[AuthorActivity]:
        """The newest activity of each author strictly older than `before` and not before `since_ms`, newest
        first."""

        async def ask(chunk: Sequence[int]) -> Iterable[AuthorActivity]:
            request = ListActivityRequest(
                author_ids=chunk, before=before, limit=limit, since_ms=since_ms
            )
            async with self._gate:
                return (await self._tweets.ListActivity(request)).authors

        calls = map(ask, chunks(author_ids, AUTHORS_A_CALL))
        return [author for part in await _together(calls) for author in part]

    async def tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        """Tweets by id, with counts; one that does not exist, or no longer, is left out."""

        async def ask(chunk: Sequence[int]) -> dict[int, Tweet]:
            response = await self._tweets.BatchGetTweets(BatchGetTweetsRequest(tweet_ids=chunk))
            return {r.tweet_id: r.tweet for r in response.results if r.HasField("tweet")}

        found: dict[int, Tweet] = {}
        for part in await _together(map(ask, chunks(tweet_ids, TWEETS_A_CALL))):
            found |= part
        return found

    async def flags(self, viewer_id: int, tweet_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Tweet id -> microseconds of the viewer's like and retweet, 0 where there is none."""

        async def ask(chunk: Sequence[int]) -> dict[int, tuple[int, int]]:
            request = BatchGetViewerFlagsRequest(viewer_id=viewer_id, tweet_ids=chunk)
            response = await self._tweets.BatchGetViewerFlags(request)
            return {f.tweet_id: (f.liked_at_us, f.retweeted_at_us) for f in response.flags}

        found: dict[int, tuple[int, int]] = {}
        for part in await _together(map(ask, chunks(tweet_ids, TWEETS_A_CALL))):
            found |= part
        return found

    async def newest_flags(self, viewer_id: int, limit: int) -> Flags:
        """The viewer's likes and retweets, up to `limit` of each.

        None are known where they cannot be listed: by a tweet_svc of older code, or because the store has
        to pass too many that were undone.
        """
        request = ListViewerFlagsRequest(viewer_id=viewer_id, limit=limit)
        try:
            response = await self._tweets.ListViewerFlags(request)
        except (Unimplemented, Unavailable) as error:
            log.info("newest flags not listed", viewer_id=viewer_id, error=str(error))
            return Flags({}, NOTHING_KNOWN)
        return Flags(
            {f.tweet_id: (f.liked_at_us, f.retweeted_at_us) for f in response.flags}, response.floor
        )

    async def earliest_retweets(
        self, tweet_ids: Sequence[int], user_ids: Sequence[int]
    ) -> dict[int, Activity]:
        """Tweet id -> the earliest standing retweet by any of the users; without one it is left out."""
        if not tweet_ids or not user_ids:
            return {}
        request = FindEarliestRetweetsRequest(tweet_ids=tweet_ids, user_ids=user_ids)
        response = await self._tweets.FindEarliestRetweets(request)
        return {r.tweet_id: r.retweet for r in response.results if r.HasField("retweet")}

    async def followees(self, user_id: int) -> list[int]:
        """Everybody the user follows, in no order."""
        ids: list[int] = []
        token = b""
        while True:
            response = await self._graph.ListFolloweeIds(
                ListFolloweeIdsRequest(user_id=user_id, page_token=token, page_size=ID_PAGE)
            )
            ids.extend(response.followee_ids)
            token = response.next_page_token
            if not token:
                return ids

    async def followers(self, user_id: int, token: bytes, page_size: int) -> FollowerPage:
        """A page of the user's followers: the first for b"", at most 10,000 ids."""
        response = await self._graph.ListFollowerIds(
            ListFollowerIdsRequest(user_id=user_id, page_token=token, page_size=page_size)
        )
        return FollowerPage(
            response.follower_ids, response.followers_count, response.next_page_token
        )

    async def users(self, user_ids: Sequence[int]) -> dict[int, User]:
        """Users by id; an unknown one is left out."""

        async def ask(chunk: Sequence[int]) -> dict[int, User]:
            response = await self._graph.BatchGetUsers(BatchGetUsersRequest(user_ids=chunk))
            return {r.user_id: r.user for r in response.results if r.HasField("user")}

        found: dict[int, User] = {}
        for part in await _together(map(ask, chunks(user_ids, USERS_A_CALL))):
            found |= part
        return found


async def _together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    return list(await asyncio.gather(*calls))
