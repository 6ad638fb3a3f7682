"""Tweets in Redis: the only module that knows their keys.

    tweet:{789}         STRING  the serialized body (fields 1 to 6); "" marks a deleted tweet
    tweet:{789}:counts  STRING  "<as of, in microseconds>|<serialized fields 7 and 8>"

A body is only set where none is, so that whoever read a tweet before its deletion cannot bring it back
past the mark. Of counts the newer reading stands. Both expire, or are evicted, at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.redis import Redis, Script

from .generation import Generation
from .line import Line, body_bytes, counts_bytes

TTL_S = 24 * 3600
DELETED = b""
_folder = resources.files(__package__) / "lua"
FILL = Script("fill", (_folder / "fill.lua").read_text())
SET_COUNTS = Script("counts", (_folder / "counts.lua").read_text())


class TweetCache:
    """Bodies and counts of tweets. Raises RedisUnavailable or RedisReplyError."""

    def __init__(self, redis: Redis, prefix: str, generation: Generation) -> None:
        self._redis = redis
        self._prefix = prefix
        self._generation = generation

    def _key(self, tweet_id: int) -> str:
        return f"{self._prefix}tweet:{{{tweet_id}}}"

    async def load(self, lines: Sequence[Line]) -> None:
        """Fill in body and counts of those lines whose tweets are cached; a deleted one has body b""."""
        if not lines:
            return
        keys: list[str] = []
        for line in lines:
            key = self._key(line.tweet_id)
            keys += [key, f"{key}:counts"]
        values = await self._redis.call("MGET", *keys)
        for i, line in enumerate(lines):
            line.body = values[2 * i]
            counts = values[2 * i + 1]
            line.counts = counts.partition(b"|")[2] if counts is not None else None

    async def fill(self, tweets: Sequence[Tweet], as_of_us: int, generation: bytes) -> None:
        """Cache tweets as the store had them at `as_of_us` or later, in that generation of the cache."""
        if not tweets:
            return
        arguments: list[str | bytes | int] = [self._generation.key, generation, TTL_S, as_of_us]
        for tweet in tweets:
            arguments += [
                body_bytes(tweet),
                counts_bytes(tweet.likes_count, tweet.retweets_count),
            ]
        await self._redis.eval(FILL, [self._key(tweet.tweet_id) for tweet in tweets], arguments)

    async def set_counts(self, tweet_id: int, likes: int, retweets: int, as_of_us: int) -> None:
        """Absolute counts, as of a time; older ones change nothing."""
        await self._redis.eval(
            SET_COUNTS,
            [f"{self._key(tweet_id)}:counts"],
            [as_of_us, counts_bytes(likes, retweets), TTL_S],
        )

    async def mark_deleted(self, tweet_id: int) -> None:
        """The tweet is gone; hides it from every timeline that holds its id."""
        key = self._key(tweet_id)
        await self._redis.pipeline([("SET", key, DELETED, "EX", TTL_S), ("DEL", f"{key}:counts")])
