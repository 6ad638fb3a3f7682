"""Keeps the counts of users: recounts the partitions that an event says have changed.

A count is never added to: it is the number of rows, stored with the time at which counting began, so
repeated, late and reordered events end in the same exact numbers. An event is acknowledged when the
counts that contain it are stored.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Literal, NamedTuple

from starling.graph.v1.graph_events_pb2 import FollowChanged, GraphEvent
from starling.tweet.v1.tweet_events_pb2 import TweetEvent

from graph_svc.edge_store import EdgeStore, changes_of
from graph_svc.user_store import UserStore
from meshkit.consumer import Consumer, EventMeta
from meshkit.events import ConsumerSpec, EventBus
from meshkit.log import get_logger
from meshkit.recount import Recounter, of_the_newest
from meshkit.streams import (
    AUTHOR_COUNTS_CHANGED,
    AUTHORS_COUNTS_CHANGED,
    COUNTS,
    FOLLOW_CHANGED,
    FOLLOWS_CHANGED,
    GRAPH,
)
from meshkit.write_clock import WriteClock

EDGES = ConsumerSpec(
    "graph-counter",
    GRAPH.name,
    (FOLLOW_CHANGED, FOLLOWS_CHANGED),
    # Most of these wait for a recount that others share.
    max_in_flight=1024,
    max_deliver=1000,
)
TWEETS_COUNTS = ConsumerSpec(
    "graph-tweets-count",
    COUNTS.name,
    (AUTHORS_COUNTS_CHANGED, AUTHOR_COUNTS_CHANGED),
    max_deliver=1000,
)

_log = get_logger(__name__)


class Partition(NamedTuple):
    """What is counted at once: the users someone follows (shard 0), or one shard of their followers."""

    user_id: int
    kind: Literal["followers", "following"]
    shard: int


class Counter:
    """Handles the events that change counts."""

    def __init__(
        self,
        users: UserStore,
        edges: EdgeStore,
        bus: EventBus,
        clock: WriteClock,
        followers_a_shard: int,
    ) -> None:
        self._users = users
        self._edges = edges
        self._bus = bus
        # Apart from the clock of writes, which must not be driven ahead by another process's.
        self._times = WriteClock(clock.now_us)
        self._followers_a_shard = followers_a_shard
        self._recounter: Recounter[Partition] = Recounter(self._recount, max_interval_s=0.5)
        # By follower: events whose pairs are still to be settled, all with one read.
        self._unsettled: defaultdict[int, list[FollowChanged]] = defaultdict(list)

    def consumers(self) -> list[Consumer]:
        """The two consumers that feed it."""
        return [
            Consumer(
                self._bus,
                EDGES,
                {
                    FOLLOW_CHANGED: (GraphEvent, self.on_follows_changed),
                    FOLLOWS_CHANGED: (GraphEvent, self.on_follows_changed),
                },
            ),
            Consumer(
                self._bus,
                TWEETS_COUNTS,
                {
                    AUTHORS_COUNTS_CHANGED: (TweetEvent, self.on_authors_counts_changed),
                    AUTHOR_COUNTS_CHANGED: (TweetEvent, self.on_author_counts_changed),
                },
            ),
        ]

    async def on_follows_changed(self, event: GraphEvent, meta: EventMeta) -> None:
        """Settle the pairs of one follower, and recount both ends."""
        changes = changes_of(event)
        follower_id = changes[0].follower_id
        self._unsettled[follower_id].extend(changes)
        ends = {Partition(each.followee_id, "followers", each.shard) for each in changes}
        await asyncio.gather(
            *map(self._recounter.mark, (Partition(follower_id, "following", 0), *ends))
        )

    async def recount(self, partition: Partition) -> None:
        """Count a partition anew and store the number."""
        await self._recounter.mark(partition)

    async def on_authors_counts_changed(self, event: TweetEvent, meta: EventMeta) -> None:
        """Store what tweet_svc counted."""
        counted = event.authors_counts_changed
        await self._users.set_tweets_totals(
            {each.author_id: each.tweets_count for each in counted.counts}, counted.as_of_us
        )

    async def on_author_counts_changed(self, event: TweetEvent, meta: EventMeta) -> None:
        """Store what a tweet_svc of older code counted."""
        counted = event.author_counts_changed
        await self._users.set_total(
            counted.author_id, "tweets", 0, counted.tweets_count, counted.as_of_us
        )

    async def _recount(self, partition: Partition) -> None:
        user_id, kind, shard = partition
        if kind == "following" and (changes := self._unsettled.pop(user_id, None)):
            for edge in await self._edges.settle(user_id, changes):
                # The other end may have been counted with it, a moment ago.
                await self._recount(Partition(edge.followee_id, "followers", edge.shard))

        async def recount(as_of_us: int) -> tuple[int, int]:
            if kind == "following":
                total = await self._edges.count_following(user_id)
            else:
                total = await self._edges.count_followers(user_id, shard)
            await self._users.set_total(user_id, kind, shard, total, as_of_us)
            return total, await self._users.total_as_of_us(user_id, kind, shard)

        total, _ = await of_the_newest(self._times, recount)
        if kind == "followers" and total >= self._followers_a_shard:
            await self._open_next_shard(user_id, shard)

    async def _open_next_shard(self, user_id: int, full_shard: int) -> None:
        if (await self._users.follower_shards([user_id])).get(user_id) == full_shard:
            _log.info("new shard of followers", user_id=user_id, shard=full_shard + 1)
            await self._users.open_follower_shard(user_id, full_shard + 1)
