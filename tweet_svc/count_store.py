"""How many likes and retweets a tweet has: absolute numbers, recounted from the rows.

    tweet_count   (tweet_id), kind (1 likes, 2 retweets), shard → n

`n` is what a recount of that shard found, written at the time its read began: of two recounts the
one that began later, and so saw more, stands. A tweet's count is the sum over one partition. A
retweet's batch also writes the bare row of its shard, without `n`: so a shard of retweets that has
no row here is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from starling.tweet.v1.tweet_events_pb2 import RetweetChanged

from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.cql import CqlSession, Statement
from tweet_svc.batch import AT_ONCE, PARTITIONS, Item
from tweet_svc.sharding import shard_of

LIKES = 1
RETWEETS = 2

_MARK = Statement(
    "tweet_count.mark",
    "INSERT INTO tweet_count (tweet_id, kind, shard) VALUES (?, ?, ?)",
    idempotent=True,
)
_STORE = Statement(
    "tweet_count.store",
    "UPDATE tweet_count SET n = ? WHERE tweet_id = ? AND kind = ? AND shard = ?",
    idempotent=True,
)
_GET = Statement(
    "tweet_count.get", "SELECT kind, n FROM tweet_count WHERE tweet_id = ?", idempotent=True
)
_TOTAL = Statement(
    "tweet_count.total",
    "SELECT kind, n, WRITETIME(n) FROM tweet_count WHERE tweet_id = ?",
    idempotent=True,
)
_GET_MANY = Statement(
    "tweet_count.get_many",
    "SELECT tweet_id, kind, n FROM tweet_count WHERE tweet_id IN ?",
    idempotent=True,
)
_RETWEET_SHARDS = Statement(
    "tweet_count.retweet_shards",
    "SELECT tweet_id, shard, n FROM tweet_count WHERE tweet_id IN ? AND kind = 2",
    idempotent=True,
)


class Counts(NamedTuple):
    """Likes and retweets of a tweet."""

    likes: int = 0
    retweets: int = 0


def changed_rows(event: RetweetChanged) -> list[Item]:
    """What a retweet writes here: its shard's mark."""
    if not event.retweeted:
        return []
    made = event.activity
    return [(_MARK, (made.tweet_id, RETWEETS, shard_of(made.actor_id)))]


class CountStore:
    """Reads and writes counts."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session

    async def store(self, tweet_id: int, kind: int, shard: int, n: int, as_of_us: int) -> None:
        """Keep a shard's count, of which the reading began at `as_of_us`."""
        await self._session.execute(_STORE, (n, tweet_id, kind, shard), timestamp_us=as_of_us)

    async def get(self, tweet_id: int) -> Counts:
        """The counts of one tweet; zeros for one that does not exist."""
        sums = [0, 0, 0]
        for kind, n in await self._session.execute(_GET, (tweet_id,)):
            sums[kind] += n or 0
        return Counts(sums[LIKES], sums[RETWEETS])

    async def total(self, tweet_id: int) -> tuple[Counts, int]:
        """The counts of one tweet, and the latest `as_of_us` of a shard that they are made of."""
        sums, newest_us = [0, 0, 0], 0
        for kind, n, as_of_us in await self._session.execute(_TOTAL, (tweet_id,)):
            sums[kind] += n or 0
            newest_us = max(newest_us, as_of_us or 0)
        return Counts(sums[LIKES], sums[RETWEETS]), newest_us

    async def get_many(self, tweet_ids: Sequence[int]) -> dict[int, Counts]:
        """The counts of those tweets that have any."""

        async def read(ids: list[int]) -> dict[int, list[int]]:
            sums: dict[int, list[int]] = {}
            for tweet_id, kind, n in await self._session.execute(_GET_MANY, (ids,)):
                sums.setdefault(tweet_id, [0, 0, 0])[kind] += n or 0
            return sums

        pages = await gather_bounded(
            AT_ONCE, read, chunks(list(dict.fromkeys(tweet_ids)), PARTITIONS)
        )
        return {
            tweet_id: Counts(sums[LIKES], sums[RETWEETS])
            for page in pages
            for tweet_id, sums in page.items()
        }

    async def retweet_shards(self, tweet_ids: Sequence[int]) -> dict[int, dict[int, int | None]]:
        """For each tweet that was ever retweeted, its shards that may hold retweets, each with its count,
        None where none was made yet."""

        async def read(ids: list[int]) -> list[tuple[int, int, int | None]]:
            rows = await self._session.execute(_RETWEET_SHARDS, (ids,))
            return [(tweet_id, shard, n) for tweet_id, shard, n in rows]

        shards: dict[int, dict[int, int | None]] = {}
        pages = await gather_bounded(
            AT_ONCE, read, chunks(list(dict.fromkeys(tweet_ids)), PARTITIONS)
        )
        for page in pages:
            for tweet_id, shard, n in page:
                shards.setdefault(tweet_id, {})[shard] = n
        return shards
