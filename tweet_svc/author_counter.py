"""Counts authors' tweets again, many authors in one round, and tells the mesh the result.

A round takes all months that were marked while the one before ran, at least `_APART_S` after that began:
some requests for ten authors, where one author's took as many. The first mark after a quiet while is
counted at once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable

from starling.tweet.v1.tweet_events_pb2 import AuthorCount, AuthorsCountsChanged, TweetEvent

from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.events import EventBus
from meshkit.recount import of_the_newest
from meshkit.streams import AUTHORS_COUNTS_CHANGED
from meshkit.write_clock import WriteClock
from tweet_svc.activity_store import ActivityStore, Month

_APART_S = 0.4
_MONTHS_AT_ONCE = 10
"""Partitions that one statement counts or writes; Cassandra warns of batches over more than ten."""
_AT_ONCE = 4
"""Such groups of months under way."""


class AuthorCounter:
    """Recounts months of authors' tweets, in rounds."""

    def __init__(self, bus: EventBus, times: WriteClock, activity: ActivityStore) -> None:
        self._bus = bus
        self._times = times
        self._activity = activity
        # Two processes that count at the same microsecond tell two things.
        self._name = secrets.token_hex(4)
        self._dirty: set[Month] = set()
        self._next: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._started_at = float("-inf")

    async def recount(self, author_id: int, months: Iterable[int]) -> None:
        """Return once a round that began after this call has counted these months, and told the mesh.

        Raises what made the round fail, whichever author it was at.
        """
        self._dirty.update((author_id, month) for month in months)
        if self._next is None:
            self._next = asyncio.create_task(self._round(), name="authors.recount")
        await asyncio.shield(self._next)

    async def _round(self) -> None:
        async with self._one_at_a_time:
            loop = asyncio.get_running_loop()
            pause_s = self._started_at + _APART_S - loop.time()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            self._started_at = loop.time()
            # Whoever marks from here on waits for the next round: this one may already have read.
            dirty, self._dirty, self._next = sorted(self._dirty), set(), None
            await gather_bounded(_AT_ONCE, self._count, chunks(dirty, _MONTHS_AT_ONCE))

    async def _count(self, months: list[Month]) -> None:
        author_ids = list(dict.fromkeys(author_id for author_id, _ in months))

        async def recount(as_of_us: int) -> tuple[dict[int, int], int]:
            counts = await self._activity.count_tweets_of(months)
            await self._activity.store_tweets_counts(counts, as_of_us)
            return await self._activity.tweets_counts(author_ids)

        tweets, as_of_us = await of_the_newest(self._times, recount)
        changed = AuthorsCountsChanged(
            counts=[AuthorCount(author_id=each, tweets_count=tweets[each]) for each in author_ids],
            as_of_us=as_of_us,
        )
        await self._bus.publish(
            AUTHORS_COUNTS_CHANGED,
            TweetEvent(authors_counts_changed=changed),
            msg_id=f"{AUTHORS_COUNTS_CHANGED}:{self._name}:{as_of_us}",
        )
