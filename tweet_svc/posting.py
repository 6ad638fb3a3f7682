"""Posting a tweet: claim the idempotency key, refuse spam, write once, tell the mesh, wait for the fan-out.

Killed at any of these steps, the post is everywhere or nowhere: the event is written first, all rows follow
from it, and a retry under the same key goes on with the same id and writes the same rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from starling.tweet.v1.tweet_events_pb2 import TweetEvent, TweetPosted
from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.errors import FailedPrecondition, FieldViolation
from meshkit.identity import Caller
from meshkit.keyed_lock import KeyedLock
from meshkit.snowflake import created_at, timestamp_ms
from meshkit.write_clock import WriteClock
from tweet_svc import spam
from tweet_svc.activity_store import ActivityStore
from tweet_svc.changes import Changes
from tweet_svc.fanout_word import FanoutWord
from tweet_svc.idempotency_store import Claim, IdempotencyStore
from tweet_svc.reasons import IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_REUSED
from tweet_svc.tweet_store import TweetStore

KEY_HEADER = "Idempotency-Key"
_KEY_MAX_CHARS = 255


@dataclass(frozen=True, slots=True)
class Post:
    """What is to be posted: the normalised content and media ids, by whom."""

    author: Caller
    content: str
    media_ids: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> bytes:
        """Tells this request from another under the same idempotency key."""
        return sha256("\0".join((self.content, *self.media_ids)).encode()).digest()


def checked_key(values: Sequence[str | bytes]) -> str | None:
    """The idempotency key among the values of its header, None when there is no such header.

    Raises InvalidArgument (IDEMPOTENCY_KEY_INVALID) for anything but one value of 1 to 255 printable
    ASCII characters.
    """
    if not values:
        return None
    key = values[0]
    if (
        len(values) == 1
        and isinstance(key, str)
        and 1 <= len(key) <= _KEY_MAX_CHARS
        and key.isascii()
        and key.isprintable()
    ):
        return key
    wanted = f"must be one header of 1 to {_KEY_MAX_CHARS} printable ASCII characters"
    raise IDEMPOTENCY_KEY_INVALID.error(
        f"{KEY_HEADER}: {wanted}",
        violations=[FieldViolation(KEY_HEADER, wanted, IDEMPOTENCY_KEY_INVALID.name)],
    )


class Posting:
    """Posts tweets."""

    def __init__(
        self,
        *,
        next_id: Callable[[], int],
        clock: WriteClock,
        tweets: TweetStore,
        activity: ActivityStore,
        claims: IdempotencyStore,
        changes: Changes,
        fanout: FanoutWord,
    ) -> None:
        self._next_id = next_id
        self._clock = clock
        self._tweets = tweets
        self._activity = activity
        self._claims = claims
        self._changes = changes
        self._fanout = fanout
        self._locks = KeyedLock()

    async def post(self, post: Post, key: str | None) -> int:
        """The tweet's id, once it is durable and, in a healthy mesh, in its author's own timeline.

        With a key that was used before for the same request it is the id of that time. Raises
        SPAM_DETECTED, IDEMPOTENCY_KEY_REUSED; Unavailable or DeadlineExceeded when the outcome is unknown.
        """
        if key is None:
            return await self._post(post, self._next_id())
        # The requests of one key queue here, so that they do not contend for it in the store.
        async with self._locks.hold(("key", post.author.user_id, key)):
            return await self._post_once(post, key)

    async def _post_once(self, post: Post, key: str) -> int:
        wanted = Claim(self._next_id(), post.fingerprint)
        claim = await self._claims.claim(post.author.user_id, key, wanted)
        if claim.fingerprint != wanted.fingerprint:
            raise IDEMPOTENCY_KEY_REUSED.error(
                f"{KEY_HEADER}: another request used this key less than 24 hours ago",
                violations=[
                    FieldViolation(
                        KEY_HEADER, "belongs to another request", IDEMPOTENCY_KEY_REUSED.name
                    )
                ],
            )
        if claim != wanted and await self._tweets.ever_existed(claim.tweet_id):
            return claim.tweet_id
        try:
            return await self._post(post, claim.tweet_id)
        except FailedPrecondition:
            # Refused, so nothing was posted under the key: it may be used again.
            await self._claims.release(post.author.user_id, key, claim.tweet_id)
            raise

    async def _post(self, post: Post, tweet_id: int) -> int:
        author_id = post.author.user_id
        with self._fanout.expect() as word:
            # Of two posts of one text at once, the second sees the first.
            async with self._locks.hold(("text", author_id, post.content)):
                await self._refuse_spam(post, tweet_id)
                row = await self._changes.write(_event(post, tweet_id), word.headers)
            if await self._changes.publish(row):
                await word.wait()
        return tweet_id

    async def _refuse_spam(self, post: Post, tweet_id: int) -> None:
        now_ms = self._clock.now_us() // 1000
        author_id, since_ms = post.author.user_id, now_ms - spam.DUPLICATE_WINDOW_MS
        standing, deleted = await asyncio.gather(
            self._activity.texts_since(author_id, since_ms, now_ms),
            self._tweets.deleted_texts(author_id, since_ms),
        )
        others = {text for other_id, text in standing + deleted if other_id != tweet_id}
        spam.check(spam.Draft(post.content, others))


def _event(post: Post, tweet_id: int) -> TweetEvent:
    tweet = Tweet(
        tweet_id=tweet_id,
        user_id=post.author.user_id,
        username=post.author.username,
        content=post.content,
        media_ids=post.media_ids,
        created_at=created_at(tweet_id),
    )
    return TweetEvent(posted=TweetPosted(tweet=tweet, at_ms=timestamp_ms(tweet_id)))
