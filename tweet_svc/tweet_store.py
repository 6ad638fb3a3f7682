"""Tweets by id.

    tweet             tweet_id → author_id, username, content, media_ids, text_hash
    tweet_tombstone   tweet_id → author_id, deleted_us (lives 25 h)
    deleted_text      author_id, tweet_id → text_hash (lives a minute)

A row of `tweet` is written once, at the time that its id tells (its ms in µs), and never changed;
deletion is a row delete with a later time, so that a post carried out again, by a retry or by the
relay, never brings a deleted tweet back. All of a change's rows go into one batch, after its event:
see `tweet_svc.changes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starling.tweet.v1.tweet_events_pb2 import TweetDeleted, TweetPosted
from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.cql import CqlSession, Statement
from meshkit.snowflake import created_at, first_id_at, timestamp_ms
from tweet_svc.batch import AT_ONCE, PARTITIONS, Item
from tweet_svc.spam import DUPLICATE_WINDOW_MS
from tweet_svc.text_hash import text_hash

_INSERT = Statement(
    "tweet.insert",
    "INSERT INTO tweet (tweet_id, author_id, username, content, media_ids, text_hash)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    idempotent=True,
)
_DELETE = Statement("tweet.delete", "DELETE FROM tweet WHERE tweet_id = ?", idempotent=True)
_BURY = Statement(
    "tweet.bury",
    "INSERT INTO tweet_tombstone (tweet_id, author_id, deleted_us) VALUES (?, ?, ?)",
    idempotent=True,
)
_KEEP_TEXT = Statement(
    "deleted_text.insert",
    "INSERT INTO deleted_text (author_id, tweet_id, text_hash) VALUES (?, ?, ?)",
    idempotent=True,
)
_DELETED_TEXTS = Statement(
    "deleted_text.since",
    "SELECT tweet_id, text_hash FROM deleted_text WHERE author_id = ? AND tweet_id >= ?",
    idempotent=True,
)
_GET = Statement(
    "tweet.get",
    "SELECT tweet_id, author_id, username, content, media_ids FROM tweet WHERE tweet_id = ?",
    idempotent=True,
)
_GET_MANY = Statement(
    "tweet.get_many",
    "SELECT tweet_id, author_id, username, content, media_ids FROM tweet WHERE tweet_id IN ?",
    idempotent=True,
)
_AUTHOR = Statement(
    "tweet.author", "SELECT author_id, text_hash FROM tweet WHERE tweet_id = ?", idempotent=True
)
_BURIED = Statement(
    "tweet.buried", "SELECT deleted_us FROM tweet_tombstone WHERE tweet_id = ?", idempotent=True
)


def posted_rows(event: TweetPosted) -> list[Item]:
    """What posting writes here."""
    tweet = event.tweet
    return [
        (
            _INSERT,
            (
                tweet.tweet_id,
                tweet.user_id,
                tweet.username,
                tweet.content,
                list(tweet.media_ids),
                text_hash(tweet.content),
            ),
        )
    ]


def deleted_rows(event: TweetDeleted) -> list[Item]:
    """What deleting writes here."""
    items: list[Item] = [
        (_DELETE, (event.tweet_id,)),
        (_BURY, (event.tweet_id, event.author_id, event.changed_us)),
    ]
    age_ms = event.changed_us // 1000 - timestamp_ms(event.tweet_id)
    if event.text_hash and age_ms <= DUPLICATE_WINDOW_MS:
        items.append((_KEEP_TEXT, (event.author_id, event.tweet_id, event.text_hash)))
    return items


class TweetStore:
    """Reads tweets. Tweets come as messages without counts and flags."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session

    async def get(self, tweet_id: int) -> Tweet | None:
        """The tweet, or None when there is none or it was deleted."""
        row = await self._session.one(_GET, (tweet_id,))
        return _tweet(*row) if row else None

    async def get_many(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        """Those that exist, by id."""

        async def read(ids: list[int]) -> list[Tweet]:
            return [_tweet(*row) for row in await self._session.execute(_GET_MANY, (ids,))]

        pages = await gather_bounded(
            AT_ONCE, read, chunks(list(dict.fromkeys(tweet_ids)), PARTITIONS)
        )
        return {tweet.tweet_id: tweet for page in pages for tweet in page}

    async def author_of(self, tweet_id: int) -> int | None:
        """The author's id, or None when there is no such tweet."""
        row = await self._session.one(_AUTHOR, (tweet_id,))
        return row[0] if row else None

    async def author_and_text(self, tweet_id: int) -> tuple[int, bytes] | None:
        """The author's id and the text's hash, or None when there is no such tweet."""
        row = await self._session.one(_AUTHOR, (tweet_id,))
        return (row[0], row[1] or b"") if row else None

    async def deleted_texts(self, author_id: int, since_ms: int) -> list[tuple[int, bytes]]:
        """(tweet id, text hash) of what the author posted since `since_ms` and deleted within a minute."""
        rows = await self._session.execute(_DELETED_TEXTS, (author_id, first_id_at(since_ms)))
        return [(tweet_id, text) for tweet_id, text in rows]

    async def ever_existed(self, tweet_id: int) -> bool:
        """Whether the tweet is there, or was deleted within the last 25 hours."""
        there, buried = await asyncio.gather(
            self._session.one(_AUTHOR, (tweet_id,)), self._session.one(_BURIED, (tweet_id,))
        )
        return there is not None or buried is not None


def _tweet(
    tweet_id: int, author_id: int, username: str, content: str, media_ids: list[str] | None
) -> Tweet:
    return Tweet(
        tweet_id=tweet_id,
        user_id=author_id,
        username=username,
        content=content,
        media_ids=media_ids or (),
        created_at=created_at(tweet_id),
    )
