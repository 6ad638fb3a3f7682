"""TweetService: tweets, likes and retweets, as clients call it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from starling.tweet.v1.tweet_events_pb2 import TweetDeleted, TweetEvent
from starling.tweet.v1.tweet_service_pb2 import (
    DeleteTweetRequest,
    DeleteTweetResponse,
    GetTweetRequest,
    GetTweetResponse,
    LikeTweetRequest,
    LikeTweetResponse,
    PostTweetRequest,
    PostTweetResponse,
    RetweetRequest,
    RetweetResponse,
    UnlikeTweetRequest,
    UnlikeTweetResponse,
    UnretweetRequest,
    UnretweetResponse,
)
from starling.tweet.v1.tweet_service_pb2_grpc import TweetServiceServicer

from meshkit.errors import StarlingError
from meshkit.identity import Caller, current_caller, require_self
from meshkit.snowflake import created_at, timestamp_ms
from meshkit.text import clean_text
from meshkit.write_clock import WriteClock
from tweet_svc.changes import Changes
from tweet_svc.config import TweetConfig
from tweet_svc.count_store import CountStore
from tweet_svc.engagement import Engagement
from tweet_svc.fanout_word import FanoutWord
from tweet_svc.like_store import LikeStore
from tweet_svc.posting import KEY_HEADER, Post, Posting, checked_key
from tweet_svc.reasons import NOT_THE_AUTHOR, TWEET_NOT_FOUND
from tweet_svc.retweet_store import RetweetStore
from tweet_svc.tweet_store import TweetStore

_Context = grpc.aio.ServicerContext[Any, Any]
_ByCaller = (
    PostTweetRequest
    | DeleteTweetRequest
    | LikeTweetRequest
    | UnlikeTweetRequest
    | RetweetRequest
    | UnretweetRequest
)


class TweetService(TweetServiceServicer):
    """The handlers; errors are listed in the proto."""

    def __init__(
        self,
        *,
        config: TweetConfig,
        clock: WriteClock,
        posting: Posting,
        engagement: Engagement,
        tweets: TweetStore,
        counts: CountStore,
        likes: LikeStore,
        retweets: RetweetStore,
        changes: Changes,
        fanout: FanoutWord,
    ) -> None:
        self._max_chars = config.tweet_max_chars
        self._clock = clock
        self._posting = posting
        self._engagement = engagement
        self._tweets = tweets
        self._counts = counts
        self._likes = likes
        self._retweets = retweets
        self._changes = changes
        self._fanout = fanout

    async def PostTweet(self, request: PostTweetRequest, context: _Context) -> PostTweetResponse:
        """Post a tweet, once under an idempotency key."""
        author = _caller(request)
        key = checked_key(_header(context, KEY_HEADER))
        content = clean_text(
            "content", request.content, min_chars=1, max_chars=self._max_chars, newlines=True
        )
        tweet_id = await self._posting.post(Post(author, content, tuple(request.media_ids)), key)
        return PostTweetResponse(tweet_id=tweet_id, created_at=created_at(tweet_id))

    async def GetTweet(self, request: GetTweetRequest, context: _Context) -> GetTweetResponse:
        """One tweet with its counts and the caller's flags."""
        caller_id, tweet_id = current_caller().user_id, request.tweet_id
        tweet, counts, liked_us, retweet = await asyncio.gather(
            self._tweets.get(tweet_id),
            self._counts.get(tweet_id),
            self._likes.liked_us(caller_id, tweet_id),
            self._retweets.get(caller_id, tweet_id),
        )
        if tweet is None:
            raise _not_found(tweet_id)
        tweet.likes_count, tweet.retweets_count = counts
        tweet.liked = liked_us is not None
        tweet.retweeted = retweet is not None
        return GetTweetResponse(tweet=tweet)

    async def DeleteTweet(
        self, request: DeleteTweetRequest, context: _Context
    ) -> DeleteTweetResponse:
        """Delete the caller's own tweet."""
        caller, tweet_id = _caller(request), request.tweet_id
        found = await self._tweets.author_and_text(tweet_id)
        if found is None:
            raise _not_found(tweet_id)
        author_id, text = found
        if author_id != caller.user_id:
            raise NOT_THE_AUTHOR.error(tweet_id=tweet_id)
        # Later than the post, also should its id be ahead of the clock.
        deleted_us = self._clock.next_us(timestamp_ms(tweet_id) * 1000)
        event = TweetEvent(
            deleted=TweetDeleted(
                tweet_id=tweet_id, author_id=author_id, changed_us=deleted_us, text_hash=text
            )
        )
        with self._fanout.expect() as word:
            row = await self._changes.write(event, word.headers)
            if await self._changes.publish(row):
                await word.wait()
        return DeleteTweetResponse(success=True)

    async def LikeTweet(self, request: LikeTweetRequest, context: _Context) -> LikeTweetResponse:
        """Like a tweet."""
        await self._engagement.like(_caller(request), request.tweet_id)
        return LikeTweetResponse(success=True)

    async def UnlikeTweet(
        self, request: UnlikeTweetRequest, context: _Context
    ) -> UnlikeTweetResponse:
        """Take a like back."""
        await self._engagement.unlike(_caller(request), request.tweet_id)
        return UnlikeTweetResponse(success=True)

    async def Retweet(self, request: RetweetRequest, context: _Context) -> RetweetResponse:
        """Retweet a tweet."""
        await self._engagement.retweet(_caller(request), request.tweet_id)
        return RetweetResponse(success=True)

    async def Unretweet(self, request: UnretweetRequest, context: _Context) -> UnretweetResponse:
        """Take a retweet back."""
        await self._engagement.unretweet(_caller(request), request.tweet_id)
        return UnretweetResponse(success=True)


def _caller(request: _ByCaller) -> Caller:
    return require_self("user_id", request.user_id if request.HasField("user_id") else None)


def _header(context: _Context, name: str) -> list[str | bytes]:
    wanted = name.lower()
    return [value for key, value in context.invocation_metadata() or () if key == wanted]


def _not_found(tweet_id: int) -> StarlingError:
    return TWEET_NOT_FOUND.error(f"tweet {tweet_id} does not exist", tweet_id=tweet_id)
