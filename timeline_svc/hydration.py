"""Filling lines in: bodies, counts and the viewer's flags; from Redis, and past it from the store."""

from __future__ import annotations

import time
from collections.abc import Sequence

from meshkit.log import get_logger
from meshkit.redis import RedisReplyError, RedisUnavailable

from .generation import Generation, Generations
from .line import Line, body_bytes, counts_bytes
from .lookups import Lookups
from .tweet_cache import DELETED, TweetCache

log = get_logger(__name__)


class Hydration:
    """Makes lines ready to be shown, and drops those whose tweets are gone."""

    def __init__(self, tweets: TweetCache, generation: Generation, lookups: Lookups) -> None:
        self._tweets = tweets
        self._generation = generation
        self._lookups = lookups

    async def load_cached(self, lines: Sequence[Line]) -> None:
        """Take what Redis has of the lines' tweets; without Redis they stay as they are."""
        try:
            await self._tweets.load(lines)
        except (RedisUnavailable, RedisReplyError) as error:
            log.debug("tweets not read from Redis", error=str(error))

    async def complete(self, lines: Sequence[Line]) -> list[Line]:
        """The lines whose tweets exist, with body and counts. Order is kept."""
        missing = [
            line
            for line in lines
            if line.body is None or (line.counts is None and line.body != DELETED)
        ]
        if missing:
            await self._from_store(missing)
        return [line for line in lines if line.body != DELETED]

    async def _from_store(self, missing: Sequence[Line]) -> None:
        generations: Generations = {}
        try:
            generations = await self._generation.current([line.tweet_id for line in missing])
        except (RedisUnavailable, RedisReplyError) as error:
            log.debug("tweets read without Redis", error=str(error))
        as_of_us = time.time_ns() // 1000
        tweets = await self._lookups.tweets([line.tweet_id for line in missing])
        for line in missing:
            tweet = tweets.get(line.tweet_id)
            if tweet is None:
                line.body = DELETED
            else:
                line.body = body_bytes(tweet)
                line.counts = counts_bytes(tweet.likes_count, tweet.retweets_count)
        await self._tweets.fill(list(tweets.values()), as_of_us, generations)

    async def flag(self, viewer_id: int, lines: Sequence[Line]) -> dict[int, tuple[int, int]]:
        """Fill in the flags that are not known; returns what was asked, as TimelineCache keeps it."""
        unknown = [line for line in lines if not line.flags_known]
        if not unknown:
            return {}
        flags = await self._lookups.flags(viewer_id, [line.tweet_id for line in unknown])
        for line in unknown:
            liked_us, retweeted_us = flags.get(line.tweet_id, (0, 0))
            line.liked, line.retweeted, line.flags_known = liked_us > 0, retweeted_us > 0, True
        return flags
