"""TweetLookupService: batch reads for the other services, straight from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
from starling.tweet.v1.tweet_lookup_service_pb2 import (
    AuthorActivity,
    BatchGetTweetsRequest,
    BatchGetTweetsResponse,
    BatchGetViewerFlagsRequest,
    BatchGetViewerFlagsResponse,
    FindEarliestRetweetsRequest,
    FindEarliestRetweetsResponse,
    ListActivityRequest,
    ListActivityResponse,
    ListViewerFlagsRequest,
    ListViewerFlagsResponse,
    RetweetResult,
    TweetResult,
    ViewerFlags,
)
from starling.tweet.v1.tweet_lookup_service_pb2_grpc import TweetLookupServiceServicer

from tweet_svc.activity_pages import ActivityPages
from tweet_svc.count_store import Counts, CountStore
from tweet_svc.like_store import LikeStore
from tweet_svc.retweet_store import RetweetStore
from tweet_svc.tweet_store import TweetStore

MAX_ENTRIES = 150_000
"""Activity that one answer may hold; a message may have 16 MB."""

_Context = grpc.aio.ServicerContext[Any, Any]


class TweetLookupService(TweetLookupServiceServicer):
    """The handlers; limits and order are told in the proto."""

    def __init__(
        self,
        tweets: TweetStore,
        counts: CountStore,
        likes: LikeStore,
        retweets: RetweetStore,
        pages: ActivityPages,
    ) -> None:
        self._tweets = tweets
        self._counts = counts
        self._likes = likes
        self._retweets = retweets
        self._pages = pages

    async def BatchGetTweets(
        self, request: BatchGetTweetsRequest, context: _Context
    ) -> BatchGetTweetsResponse:
        """Tweets with their counts, in the order asked."""
        ids = request.tweet_ids
        tweets, counts = await asyncio.gather(
            self._tweets.get_many(ids), self._counts.get_many(ids)
        )
        none = Counts()
        for tweet_id, tweet in tweets.items():
            tweet.likes_count, tweet.retweets_count = counts.get(tweet_id, none)
        return BatchGetTweetsResponse(
            results=[TweetResult(tweet_id=each, tweet=tweets.get(each)) for each in ids]
        )

    async def ListActivity(
        self, request: ListActivityRequest, context: _Context
    ) -> ListActivityResponse:
        """The newest activity of each author, in the order asked.

        Of very many authors fewer entries each are given than asked for, so that the answer fits a
        message; `has_more` says so.
        """
        before = request.before if request.HasField("before") else None
        pages = await self._pages.newest(
            request.author_ids,
            limit=min(request.limit, max(1, MAX_ENTRIES // max(1, len(request.author_ids)))),
            before=(before.at_ms, before.tweet_id) if before else None,
            since_ms=request.since_ms,
        )
        return ListActivityResponse(
            authors=[
                AuthorActivity(
                    author_id=page.actor_id, activity=page.activity, has_more=page.has_more
                )
                for page in pages
            ]
        )

    async def BatchGetViewerFlags(
        self, request: BatchGetViewerFlagsRequest, context: _Context
    ) -> BatchGetViewerFlagsResponse:
        """What the viewer likes and has retweeted, in the order asked."""
        viewer_id, ids = request.viewer_id, request.tweet_ids
        liked, retweeted = await asyncio.gather(
            self._likes.liked_many(viewer_id, ids), self._retweets.retweeted_many(viewer_id, ids)
        )
        return BatchGetViewerFlagsResponse(flags=[_flags(each, liked, retweeted) for each in ids])

    async def ListViewerFlags(
        self, request: ListViewerFlagsRequest, context: _Context
    ) -> ListViewerFlagsResponse:
        """The viewer's newest likes and retweets, as far down as both are known."""
        viewer_id, limit = request.viewer_id, request.limit
        likes, retweets = await asyncio.gather(
            self._likes.newest(viewer_id, limit), self._retweets.newest(viewer_id, limit)
        )
        # A list that came to its limit says nothing of smaller ids than its last.
        floor = max(rows[-1][0] if len(rows) >= limit else 0 for rows in (likes, retweets))
        liked, retweeted = dict(likes), dict(retweets)
        return ListViewerFlagsResponse(
            floor=floor,
            flags=[
                _flags(each, liked, retweeted)
                for each in sorted(liked.keys() | retweeted.keys(), reverse=True)
                if each >= floor
            ],
        )

    async def FindEarliestRetweets(
        self, request: FindEarliestRetweetsRequest, context: _Context
    ) -> FindEarliestRetweetsResponse:
        """For each tweet the earliest retweet by any of the users, in the order asked."""
        shards = await self._counts.retweet_shards(request.tweet_ids)
        found = await self._retweets.earliest(shards, request.user_ids)
        return FindEarliestRetweetsResponse(
            results=[
                RetweetResult(tweet_id=each, retweet=found.get(each)) for each in request.tweet_ids
            ]
        )


def _flags(tweet_id: int, liked: Mapping[int, int], retweeted: Mapping[int, int]) -> ViewerFlags:
    return ViewerFlags(
        tweet_id=tweet_id,
        liked=tweet_id in liked,
        retweeted=tweet_id in retweeted,
        liked_at_us=liked.get(tweet_id, 0),
        retweeted_at_us=retweeted.get(tweet_id, 0),
    )
