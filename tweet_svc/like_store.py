"""Who likes what, from both sides. A like is a row, so liking twice counts once.

    like_by_user    (user_id), tweet_id → liked_us       does this user like these tweets?
    like_by_tweet   (tweet_id, shard), user_id            how many likes? (shard: `shard_of(user_id)`)

Both rows are written or deleted in one batch, at one time (`LikeChanged.changed_us`), so that the
later of two changes stands in both.
"""

from __future__ import annotations

from collections.abc import Sequence

from starling.tweet.v1.tweet_events_pb2 import LikeChanged

from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.cql import CqlSession, Statement
from tweet_svc.batch import AT_ONCE, ROWS, Item
from tweet_svc.row_count import count_rows
from tweet_svc.sharding import shard_of

_INSERT_BY_USER = Statement(
    "like.insert_by_user",
    "INSERT INTO like_by_user (user_id, tweet_id, liked_us) VALUES (?, ?, ?)",
    idempotent=True,
)
_INSERT_BY_TWEET = Statement(
    "like.insert_by_tweet",
    "INSERT INTO like_by_tweet (tweet_id, shard, user_id) VALUES (?, ?, ?)",
    idempotent=True,
)
_DELETE_BY_USER = Statement(
    "like.delete_by_user",
    "DELETE FROM like_by_user WHERE user_id = ? AND tweet_id = ?",
    idempotent=True,
)
_DELETE_BY_TWEET = Statement(
    "like.delete_by_tweet",
    "DELETE FROM like_by_tweet WHERE tweet_id = ? AND shard = ? AND user_id = ?",
    idempotent=True,
)
_GET = Statement(
    "like.get",
    "SELECT liked_us FROM like_by_user WHERE user_id = ? AND tweet_id = ?",
    idempotent=True,
)
_GET_MANY = Statement(
    "like.get_many",
    "SELECT tweet_id, liked_us FROM like_by_user WHERE user_id = ? AND tweet_id IN ?",
    idempotent=True,
)
_NEWEST = Statement(
    "like.newest",
    "SELECT tweet_id, liked_us FROM like_by_user WHERE user_id = ? LIMIT ?",
    idempotent=True,
)
_COUNT = Statement(
    "like.count",
    "SELECT COUNT(*) FROM like_by_tweet WHERE tweet_id = ? AND shard = ?",
    idempotent=True,
)
_USERS = Statement(
    "like.users",
    "SELECT user_id FROM like_by_tweet WHERE tweet_id = ? AND shard = ?",
    idempotent=True,
)


def changed_rows(event: LikeChanged) -> list[Item]:
    """What liking, or taking a like back, writes."""
    user_id, tweet_id = event.user_id, event.tweet_id
    if event.liked:
        return [
            (_INSERT_BY_USER, (user_id, tweet_id, event.changed_us)),
            (_INSERT_BY_TWEET, (tweet_id, shard_of(user_id), user_id)),
        ]
    return [
        (_DELETE_BY_USER, (user_id, tweet_id)),
        (_DELETE_BY_TWEET, (tweet_id, shard_of(user_id), user_id)),
    ]


class LikeStore:
    """Reads likes."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session

    async def liked_us(self, user_id: int, tweet_id: int) -> int | None:
        """When the user's like was written (µs since 1970), or None when there is none."""
        row = await self._session.one(_GET, (user_id, tweet_id))
        return row[0] if row else None

    async def liked_many(self, user_id: int, tweet_ids: Sequence[int]) -> dict[int, int]:
        """When the like was written (µs) by tweet, for those of the tweets that the user likes."""

        async def read(ids: list[int]) -> list[tuple[int, int]]:
            rows = await self._session.execute(_GET_MANY, (user_id, ids))
            return [(tweet_id, liked_us) for tweet_id, liked_us in rows]

        pages = await gather_bounded(AT_ONCE, read, chunks(list(dict.fromkeys(tweet_ids)), ROWS))
        return dict(pair for page in pages for pair in page)

    async def newest(self, user_id: int, limit: int) -> list[tuple[int, int]]:
        """(tweet id, written µs) of the user's likes of up to `limit` tweets, largest ids first."""
        rows = await self._session.execute(_NEWEST, (user_id, limit))
        return [(tweet_id, liked_us) for tweet_id, liked_us in rows]

    async def count(self, tweet_id: int, shard: int) -> int:
        """Rows of one shard, counted now."""
        return await count_rows(self._session, _COUNT, _USERS, (tweet_id, shard))
