"""Who retweeted what, from both sides.

    retweet_by_user    (user_id), tweet_id → retweeted_ms      the truth about one user and one tweet
    retweet_by_tweet   (tweet_id, shard), user_id → retweeted_ms, username, author_id
                       (shard: `sharding.shard_of(user_id)`)

The batch that writes a retweet also marks its shard in `tweet_count` (`count_store`), so that a
reader knows which of a tweet's 16 partitions can hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from starling.tweet.v1.tweet_events_pb2 import RetweetChanged
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.cql import CqlSession, Statement
from tweet_svc.batch import AT_ONCE, ROWS, Item
from tweet_svc.row_count import count_rows
from tweet_svc.sharding import by_shard, shard_of

_INSERT_BY_USER = Statement(
    "retweet.insert_by_user",
    "INSERT INTO retweet_by_user (user_id, tweet_id, retweeted_ms) VALUES (?, ?, ?)",
    idempotent=True,
)
_INSERT_BY_TWEET = Statement(
    "retweet.insert_by_tweet",
    "INSERT INTO retweet_by_tweet (tweet_id, shard, user_id, retweeted_ms, username, author_id)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    idempotent=True,
)
_DELETE_BY_USER = Statement(
    "retweet.delete_by_user",
    "DELETE FROM retweet_by_user WHERE user_id = ? AND tweet_id = ?",
    idempotent=True,
)
_DELETE_BY_TWEET = Statement(
    "retweet.delete_by_tweet",
    "DELETE FROM retweet_by_tweet WHERE tweet_id = ? AND shard = ? AND user_id = ?",
    idempotent=True,
)
_GET = Statement(
    "retweet.get",
    "SELECT retweeted_ms, WRITETIME(retweeted_ms) FROM retweet_by_user"
    " WHERE user_id = ? AND tweet_id = ?",
    idempotent=True,
)
_GET_MANY = Statement(
    "retweet.get_many",
    "SELECT tweet_id, WRITETIME(retweeted_ms) FROM retweet_by_user"
    " WHERE user_id = ? AND tweet_id IN ?",
    idempotent=True,
)
_NEWEST = Statement(
    "retweet.newest",
    "SELECT tweet_id, WRITETIME(retweeted_ms) FROM retweet_by_user WHERE user_id = ? LIMIT ?",
    idempotent=True,
)
_COUNT = Statement(
    "retweet.count",
    "SELECT COUNT(*) FROM retweet_by_tweet WHERE tweet_id = ? AND shard = ?",
    idempotent=True,
)
_USERS = Statement(
    "retweet.users",
    "SELECT user_id FROM retweet_by_tweet WHERE tweet_id = ? AND shard = ?",
    idempotent=True,
)
_SCAN = Statement(
    "retweet.scan",
    "SELECT user_id, retweeted_ms, username, author_id FROM retweet_by_tweet"
    " WHERE tweet_id = ? AND shard = ?",
    idempotent=True,
)
_PICK = Statement(
    "retweet.pick",
    "SELECT user_id, retweeted_ms, username, author_id FROM retweet_by_tweet"
    " WHERE tweet_id = ? AND shard = ? AND user_id IN ?",
    idempotent=True,
)

_SCAN_ROWS = 5
"""Reading a row of a scan costs about a fifth of looking one up by its key."""


def changed_rows(event: RetweetChanged) -> list[Item]:
    """What retweeting, or taking a retweet back, writes here."""
    made = event.activity
    user_id, tweet_id, shard = made.actor_id, made.tweet_id, shard_of(made.actor_id)
    if event.retweeted:
        return [
            (_INSERT_BY_USER, (user_id, tweet_id, made.at_ms)),
            (
                _INSERT_BY_TWEET,
                (tweet_id, shard, user_id, made.at_ms, made.actor_username, made.author_id),
            ),
        ]
    return [
        (_DELETE_BY_USER, (user_id, tweet_id)),
        (_DELETE_BY_TWEET, (tweet_id, shard, user_id)),
    ]


class Standing(NamedTuple):
    """A retweet that stands: when it was made (ms since 1970), and its write time (µs)."""

    retweeted_ms: int
    written_us: int


class RetweetStore:
    """Reads retweets."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session

    async def get(self, user_id: int, tweet_id: int) -> Standing | None:
        """The user's retweet of the tweet, or None."""
        row = await self._session.one(_GET, (user_id, tweet_id))
        return Standing(*row) if row else None

    async def retweeted_many(self, user_id: int, tweet_ids: Sequence[int]) -> dict[int, int]:
        """When the retweet was written (µs) by tweet, for those that the user has retweeted."""

        async def read(ids: list[int]) -> list[tuple[int, int]]:
            rows = await self._session.execute(_GET_MANY, (user_id, ids))
            return [(tweet_id, written_us) for tweet_id, written_us in rows]

        pages = await gather_bounded(AT_ONCE, read, chunks(list(dict.fromkeys(tweet_ids)), ROWS))
        return dict(pair for page in pages for pair in page)

    async def newest(self, user_id: int, limit: int) -> list[tuple[int, int]]:
        """(tweet id, written µs) of the user's retweets of up to `limit` tweets, largest ids first."""
        rows = await self._session.execute(_NEWEST, (user_id, limit))
        return [(tweet_id, written_us) for tweet_id, written_us in rows]

    async def count(self, tweet_id: int, shard: int) -> int:
        """Rows of one shard, counted now."""
        return await count_rows(self._session, _COUNT, _USERS, (tweet_id, shard))

    async def earliest(
        self, shards_of: dict[int, dict[int, int | None]], user_ids: Iterable[int]
    ) -> dict[int, Activity]:
        """For each tweet that any of the users retweeted, the earliest of those retweets (ties: the
        smaller user id).

        `shards_of` gives for each tweet its marked shards, with their counts where they are known: from
        these follows whether a shard is read through or its users are looked up. Either way is exact.
        """
        users = by_shard(user_ids)
        members = {shard: set(ids) for shard, ids in users.items()}
        reads: list[tuple[int, int, list[int] | None]] = []
        for tweet_id, shards in shards_of.items():
            for shard, n in shards.items():
                wanted = users.get(shard)
                if not wanted:
                    continue
                if n is not None and n > _SCAN_ROWS * len(wanted):
                    reads += [(tweet_id, shard, some) for some in chunks(wanted, ROWS)]
                else:
                    reads.append((tweet_id, shard, None))

        async def read(work: tuple[int, int, list[int] | None]) -> Activity | None:
            tweet_id, shard, some = work
            statement, params = (
                (_SCAN, (tweet_id, shard)) if some is None else (_PICK, (tweet_id, shard, some))
            )
            best: tuple[int, int, str, int] | None = None
            async for rows in self._session.pages(statement, params):
                for user_id, at_ms, username, author_id in rows:
                    found = (at_ms, user_id, username, author_id)
                    if user_id in members[shard] and (best is None or found < best):
                        best = found
            if best is None:
                return None
            at_ms, user_id, username, author_id = best
            return Activity(
                at_ms=at_ms,
                tweet_id=tweet_id,
                actor_id=user_id,
                actor_username=username,
                author_id=author_id,
            )

        earliest: dict[int, Activity] = {}
        for found in await gather_bounded(AT_ONCE, read, reads):
            if found is None:
                continue
            held = earliest.get(found.tweet_id)
            if held is None or (found.at_ms, found.actor_id) < (held.at_ms, held.actor_id):
                earliest[found.tweet_id] = found
        return earliest
