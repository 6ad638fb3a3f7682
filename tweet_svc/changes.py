"""Every change of tweet_svc's data, as one write with the event that tells of it.

The event is the change: which rows it writes, and at which time (µs), follows from the event alone.
So a change can be written twice, at once or long after, by a retry, by another process, or by the
relay from its outbox row, and is there once; and a later change is never undone by an earlier one
that arrives late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starling.tweet.v1.tweet_events_pb2 import TweetEvent

from meshkit.cql import CqlSession
from meshkit.outbox import Outbox, OutboxRow
from meshkit.streams import LIKE_CHANGED, RETWEET_CHANGED, TWEET_DELETED, TWEET_POSTED
from tweet_svc import count_store, like_store, retweet_store, tweet_store
from tweet_svc.activity_store import ActivityStore, deleted_rows
from tweet_svc.batch import Item


@dataclass(frozen=True, slots=True)
class _Change:
    """What an event writes, and under which names it is told."""

    subject: str
    msg_id: str
    timestamp_us: int
    items: list[Item]
    opened: tuple[int, int] | None = None
    """Actor and time (ms) of the activity that it adds."""


class Changes:
    """Writes changes."""

    def __init__(self, session: CqlSession, outbox: Outbox, activity: ActivityStore) -> None:
        self._session = session
        self._outbox = outbox
        self._activity = activity

    async def write(self, event: TweetEvent, headers: Mapping[str, str] | None = None) -> OutboxRow:
        """Write the outbox row and the change; the event is yet to be published.

        Raises Unavailable or DeadlineExceeded when the outcome is unknown: see `Outbox.write`.
        """
        change = self._change(event)
        # The row lies at the present minute, not at the change's: the relay looks for it there.
        row = self._outbox.row(change.subject, event, msg_id=change.msg_id, headers=headers)
        await self._outbox.write(row, change.items, timestamp_us=change.timestamp_us)
        self._written(change)
        return row

    async def publish(self, row: OutboxRow) -> bool:
        """Publish at once what was written; False when it is left to the relay."""
        return await self._outbox.publish_now(row)

    async def republish(self, event: TweetEvent) -> None:
        """Tell once more, under the same message id, of a change that is in the store.

        Raises Unavailable or DeadlineExceeded.
        """
        change = self._change(event)
        await self._outbox.bus.publish(change.subject, event, msg_id=change.msg_id, timeout_s=10.0)

    async def restore(self, row: OutboxRow) -> None:
        """Write the change of an outbox row again, without the row: for the relay."""
        change = self._change(TweetEvent.FromString(row.payload))
        await self._session.batch(change.items, timestamp_us=change.timestamp_us)
        self._written(change)

    def _written(self, change: _Change) -> None:
        if change.opened is not None:
            self._activity.written(*change.opened)

    def _change(self, event: TweetEvent) -> _Change:
        match event.WhichOneof("event"):
            case "posted":
                posted = event.posted
                author_id, tweet_id = posted.tweet.user_id, posted.tweet.tweet_id
                return _Change(
                    TWEET_POSTED,
                    f"{TWEET_POSTED}:{tweet_id}",
                    posted.at_ms * 1000,
                    [*tweet_store.posted_rows(posted), *self._activity.posted_rows(posted)],
                    (author_id, posted.at_ms),
                )
            case "deleted":
                deleted = event.deleted
                return _Change(
                    TWEET_DELETED,
                    f"{TWEET_DELETED}:{deleted.tweet_id}:{deleted.changed_us}",
                    deleted.changed_us,
                    [*tweet_store.deleted_rows(deleted), *deleted_rows(deleted)],
                )
            case "like_changed":
                liked = event.like_changed
                return _Change(
                    LIKE_CHANGED,
                    f"{LIKE_CHANGED}:{liked.tweet_id}:{liked.user_id}:{liked.changed_us}",
                    liked.changed_us,
                    like_store.changed_rows(liked),
                )
            case "retweet_changed":
                changed = event.retweet_changed
                made = changed.activity
                rows = self._activity.retweet_rows(changed)
                return _Change(
                    RETWEET_CHANGED,
                    f"{RETWEET_CHANGED}:{made.tweet_id}:{made.actor_id}:{changed.changed_us}",
                    changed.changed_us,
                    [
                        *retweet_store.changed_rows(changed),
                        *count_store.changed_rows(changed),
                        *rows,
                    ],
                    (made.actor_id, made.at_ms) if changed.retweeted and rows else None,
                )
            case other:
                raise ValueError(f"{other} is not a change of tweet_svc's data")
