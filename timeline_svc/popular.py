"""The most popular tweets of a reader's feed.

score = log2(1 + likes + 2 retweets) + 0.25 log2(1 + author's followers) - age in hours / 6

over the tweets of the feed created in the last 48 hours, the reader's own left out, ties by the larger id.
Every score falls at the same rate, so the order does not depend on the moment of reading, and the age is
counted from any fixed time.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterable

from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.snowflake import timestamp_ms

from .home_timeline import HomeTimeline
from .line import Line
from .lookups import Lookups

WINDOW_MS = 48 * 3600 * 1000
MS_A_POINT = 6 * 3600 * 1000  # this much older costs as much as half the engagement


def score(likes: int, retweets: int, followers: int, created_ms: int) -> float:
    """The score, but for a term that is the same for all tweets at any moment."""
    return (
        math.log2(1 + likes + 2 * retweets)
        + 0.25 * math.log2(1 + followers)
        + created_ms / MS_A_POINT
    )


class PopularTweets:
    """Ranks the recent tweets of home timelines."""

    def __init__(self, home: HomeTimeline, lookups: Lookups) -> None:
        self._home = home
        self._lookups = lookups

    async def top(self, reader_id: int, k: int) -> list[Line]:
        """Up to `k` lines ready to be shown, most popular first."""
        since_ms = time.time_ns() // 1_000_000 - WINDOW_MS
        # A tweet stands at or after its creation.
        recent = [
            line
            for line in await self._home.since(reader_id, since_ms)
            if timestamp_ms(line.tweet_id) >= since_ms
        ]
        parsed = [(line, Tweet.FromString(line.to_bytes())) for line in recent]
        others = [(line, tweet) for line, tweet in parsed if tweet.user_id != reader_id]
        followers = await self._followers({tweet.user_id for _, tweet in others})

        def rank(item: tuple[Line, Tweet]) -> tuple[float, int]:
            line, tweet = item
            created_ms = timestamp_ms(line.tweet_id)
            count = followers.get(tweet.user_id, 0)
            return (
                score(tweet.likes_count, tweet.retweets_count, count, created_ms),
                line.tweet_id,
            )

        top = [line for line, _ in heapq.nlargest(k, others, key=rank)]
        await self._home.flag(reader_id, top)
        return top

    async def _followers(self, author_ids: Iterable[int]) -> dict[int, int]:
        users = await self._lookups.users(sorted(author_ids))
        return {user_id: user.followers_count for user_id, user in users.items()}
