"""What was written in a stretch of time, by reading whole tables: for `tweet_svc.republish` alone.

Tables are told in the docstrings of the other stores. A row that was deleted says nothing any more; of
deleted tweets there are tombstones, for 25 hours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from starling.tweet.v1.tweet_events_pb2 import LikeChanged, RetweetChanged, TweetDeleted
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.cql import CqlSession, Statement
from meshkit.token_ranges import partitions_of, rows_of

_TWEETS = Statement(
    "history.tweets",
    "SELECT tweet_id FROM activity"
    " WHERE token(actor_id, month) > ? AND token(actor_id, month) <= ?"
    " AND at_ms >= ? AND at_ms < ? AND kind = 1 ALLOW FILTERING",
    idempotent=True,
    fetch_size=1000,
)
_DELETED = Statement(
    "history.deleted",
    "SELECT tweet_id, author_id, deleted_us FROM tweet_tombstone"
    " WHERE token(tweet_id) > ? AND token(tweet_id) <= ?"
    " AND deleted_us >= ? AND deleted_us < ? ALLOW FILTERING",
    idempotent=True,
)
_LIKES = Statement(
    "history.likes",
    "SELECT user_id, tweet_id, liked_us FROM like_by_user"
    " WHERE token(user_id) > ? AND token(user_id) <= ?"
    " AND liked_us >= ? AND liked_us < ? ALLOW FILTERING",
    idempotent=True,
)
_RETWEETS = Statement(
    "history.retweets",
    "SELECT tweet_id, user_id, retweeted_ms, username, author_id, WRITETIME(retweeted_ms)"
    " FROM retweet_by_tweet"
    " WHERE token(tweet_id, shard) > ? AND token(tweet_id, shard) <= ?"
    " AND retweeted_ms >= ? AND retweeted_ms < ? ALLOW FILTERING",
    idempotent=True,
)
_COUNTS = Statement(
    "history.counts",
    "SELECT tweet_id, kind, shard, n FROM tweet_count"
    " WHERE token(tweet_id) > ? AND token(tweet_id) <= ?",
    idempotent=True,
)
_MONTHS = Statement(
    "history.months",
    "SELECT actor_id, month, tweets_count FROM activity_month"
    " WHERE token(actor_id) > ? AND token(actor_id) <= ?",
    idempotent=True,
)


class TweetCounts(NamedTuple):
    """A tweet's stored counts by (kind, shard)."""

    tweet_id: int
    stored: dict[tuple[int, int], int]


class AuthorCounts(NamedTuple):
    """An author's stored numbers of tweets by month."""

    author_id: int
    stored: dict[int, int]


class HistoryStore:
    """Reads [from_ms, to_ms), milliseconds since 1970."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session

    async def tweet_ids(self, from_ms: int, to_ms: int) -> AsyncIterator[int]:
        """Tweets posted and not deleted."""
        async for (tweet_id,) in rows_of(self._session, _TWEETS, (from_ms, to_ms)):
            yield tweet_id

    async def deletions(self, from_ms: int, to_ms: int) -> AsyncIterator[TweetDeleted]:
        """Tweets deleted, as far as it is known whose they were."""
        bounds = (from_ms * 1000, to_ms * 1000)
        async for tweet_id, author_id, deleted_us in rows_of(self._session, _DELETED, bounds):
            if author_id is not None:
                yield TweetDeleted(tweet_id=tweet_id, author_id=author_id, changed_us=deleted_us)

    async def likes(self, from_ms: int, to_ms: int) -> AsyncIterator[LikeChanged]:
        """Likes that stand."""
        bounds = (from_ms * 1000, to_ms * 1000)
        async for user_id, tweet_id, liked_us in rows_of(self._session, _LIKES, bounds):
            yield LikeChanged(tweet_id=tweet_id, user_id=user_id, liked=True, changed_us=liked_us)

    async def retweets(self, from_ms: int, to_ms: int) -> AsyncIterator[RetweetChanged]:
        """Retweets that stand."""
        rows = rows_of(self._session, _RETWEETS, (from_ms, to_ms))
        async for tweet_id, user_id, at_ms, username, author_id, written_us in rows:
            made = Activity(
                at_ms=at_ms,
                tweet_id=tweet_id,
                actor_id=user_id,
                actor_username=username,
                author_id=author_id,
            )
            yield RetweetChanged(activity=made, retweeted=True, changed_us=written_us)

    async def tweet_counts(self) -> AsyncIterator[TweetCounts]:
        """All tweets that have counts."""
        async for rows in partitions_of(self._session, _COUNTS):
            yield TweetCounts(rows[0][0], {(kind, shard): n or 0 for _, kind, shard, n in rows})

    async def author_counts(self) -> AsyncIterator[AuthorCounts]:
        """All who ever did anything."""
        async for rows in partitions_of(self._session, _MONTHS):
            yield AuthorCounts(rows[0][0], {month: n or 0 for _, month, n in rows})
