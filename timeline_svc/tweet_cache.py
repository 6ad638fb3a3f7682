"""Tweets in Redis: the only module that knows their keys.

    tweet:{b042}:789         STRING  the serialized body (fields 1 to 6); "" marks a deleted tweet
    tweet:{b042}:789:counts  STRING  "<as of, in microseconds>|<serialized fields 7 and 8>"

Before each stands the lineage of the server that took it; what is of another is as if it were not there,
as a mark or newer counts may have been lost in a failover. A body is only set where none is, so that
whoever read a tweet before its deletion cannot bring it back past the mark. Of counts the newer reading
stands. Both expire, or are evicted, at any time. Buckets: `buckets.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.log import get_logger
from meshkit.redis import LINEAGE_BYTES, Argument, Redis, Script

from .buckets import tweet_key
from .generation import Generation, Generations
from .line import Line, body_bytes, counts_bytes

TTL_S = 24 * 3600
TWEETS_A_SCRIPT = 500
DELETED = b""
_folder = resources.files(__package__) / "lua"
FILL = Script("fill", (_folder / "fill.lua").read_text(), lineage=True)
SET_COUNTS = Script("counts", (_folder / "counts.lua").read_text(), lineage=True)

log = get_logger(__name__)


def kept(value: bytes | None, lineage: bytes) -> bytes | None:
    """What a key holds, as it is of use to a server of that lineage."""
    if value and value[:LINEAGE_BYTES] == lineage:
        return value[LINEAGE_BYTES:]
    return None if value else value


def counts_kept(value: bytes | None, lineage: bytes) -> bytes | None:
    """The serialized counts that a key holds, as `kept`."""
    if value and value[:LINEAGE_BYTES] == lineage:
        return value.partition(b"|")[2]
    return None


class TweetCache:
    """Bodies and counts of tweets. Raises RedisUnavailable or RedisReplyError."""

    def __init__(self, redis: Redis, prefix: str, generation: Generation) -> None:
        self._redis = redis
        self._prefix = prefix
        self._generation = generation

    def _key(self, tweet_id: int) -> str:
        return tweet_key(self._prefix, tweet_id)

    async def load(self, lines: Sequence[Line]) -> None:
        """Fill in body and counts of those lines whose tweets are cached; a deleted one has body b""."""
        if not lines:
            return
        keys: list[str] = []
        for line in lines:
            key = self._key(line.tweet_id)
            keys += [key, f"{key}:counts"]
        values = await self._redis.mget_current(keys)
        for i, line in enumerate(lines):
            line.body = values[2 * i]
            counts = values[2 * i + 1]
            line.counts = counts.partition(b"|")[2] if counts is not None else None

    async def fill(self, tweets: Sequence[Tweet], as_of_us: int, generations: Generations) -> None:
        """Cache tweets as the store had them at `as_of_us` or later, in those generations of the cache."""
        calls = []
        for key, indices in self._generation.grouped([t.tweet_id for t in tweets]).items():
            if key not in generations:
                continue
            for start in range(0, len(indices), TWEETS_A_SCRIPT):
                keys = [key]
                arguments: list[Argument] = [generations[key], TTL_S, as_of_us]
                for i in indices[start : start + TWEETS_A_SCRIPT]:
                    tweet = tweets[i]
                    keys.append(self._key(tweet.tweet_id))
                    arguments.append(body_bytes(tweet))
                    arguments.append(counts_bytes(tweet.likes_count, tweet.retweets_count))
                calls.append((keys, arguments))
        for reply in await self._redis.eval_each(FILL, calls):
            if isinstance(reply, Exception):
                log.debug("tweets not cached", error=str(reply))

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
