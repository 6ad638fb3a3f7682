"""Who follows whom, in Cassandra.

Tables (schema/001_users_and_edges.cql); an edge is one row in each, with the same followed_us:

    following          follower -> (followee, followed_us) -> shard        the truth of an edge
    following_by_time  follower -> (followed_us desc, followee desc)
    followers_by_time  (followee, shard) -> (followed_us desc, follower desc)

`followed_us` (microseconds since 1970, when the follow was written) names the rows: the three are
written, and deleted, as one change, of which an outbox row tells first. So the tables never disagree for
longer than a batch takes, or, after a crash, the relay; and a delete never meets an insert it was not
meant for: a follow after an unfollow is rows of its own.

Two processes that take the same follow at the same moment both find nothing and write rows of different
`followed_us`. `settle` removes all but the earliest; it runs for each event of the pair, the last of which
comes after all rows are there.

`shard` is the followee's `follower_shard` at the time of the follow (0 for all but celebrities), so a
partition of followers stays bounded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from starling.graph.v1.graph_events_pb2 import FollowChanged, FollowsChanged, GraphEvent

from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.cql import CqlSession, Item, Row, Statement
from meshkit.keyed_lock import KeyedLock
from meshkit.outbox import Outbox, OutboxRow
from meshkit.streams import FOLLOW_CHANGED, FOLLOWS_CHANGED
from meshkit.write_clock import WriteClock

# Cassandra warns at 5 KiB a batch and refuses 50 KiB; an edge takes about 250 bytes.
_EDGES_A_BATCH = 16
_PUBLISHES_AT_ONCE = 64

Position = tuple[int, int]
"""(followed_us, the other user's id): where an edge stands in a list; lists go from large to small."""
START: Position = (2**63 - 1, 2**63 - 1)
"""Before the first edge of any list."""

_PAIRS = Statement(
    "following.pairs",
    "SELECT followee_id, followed_us, shard FROM following"
    " WHERE follower_id = ? AND followee_id IN ?",
    idempotent=True,
)
_PUT = Statement(
    "following.put",
    "INSERT INTO following (follower_id, followee_id, followed_us, shard) VALUES (?, ?, ?, ?)",
    idempotent=True,
)
_PUT_FOLLOWING = Statement(
    "following_by_time.put",
    "INSERT INTO following_by_time (follower_id, followed_us, followee_id) VALUES (?, ?, ?)",
    idempotent=True,
)
_PUT_FOLLOWER = Statement(
    "followers_by_time.put",
    "INSERT INTO followers_by_time (followee_id, shard, followed_us, follower_id)"
    " VALUES (?, ?, ?, ?)",
    idempotent=True,
)
_DROP = Statement(
    "following.drop",
    "DELETE FROM following WHERE follower_id = ? AND followee_id = ? AND followed_us = ?",
    idempotent=True,
)
_DROP_FOLLOWING = Statement(
    "following_by_time.drop",
    "DELETE FROM following_by_time WHERE follower_id = ? AND followed_us = ? AND followee_id = ?",
    idempotent=True,
)
_DROP_FOLLOWER = Statement(
    "followers_by_time.drop",
    "DELETE FROM followers_by_time"
    " WHERE followee_id = ? AND shard = ? AND followed_us = ? AND follower_id = ?",
    idempotent=True,
)
_FOLLOWERS = Statement(
    "followers_by_time.page",
    "SELECT followed_us, follower_id FROM followers_by_time"
    " WHERE followee_id = ? AND shard = ? AND (followed_us, follower_id) < (?, ?) LIMIT ?",
    idempotent=True,
    fetch_size=10_001,
)
_FOLLOWING = Statement(
    "following_by_time.page",
    "SELECT followed_us, followee_id FROM following_by_time"
    " WHERE follower_id = ? AND (followed_us, followee_id) < (?, ?) LIMIT ?",
    idempotent=True,
)
_FOLLOWEE_IDS = Statement(
    "following.ids",
    "SELECT followee_id FROM following WHERE follower_id = ? AND followee_id > ? LIMIT ?",
    idempotent=True,
    fetch_size=10_001,
)
_COUNT_FOLLOWERS = Statement(
    "followers_by_time.count",
    "SELECT COUNT(*) FROM followers_by_time WHERE followee_id = ? AND shard = ?",
    idempotent=True,
)
_COUNT_FOLLOWING = Statement(
    "following_by_time.count",
    "SELECT COUNT(*) FROM following_by_time WHERE follower_id = ?",
    idempotent=True,
)

Batch = list[Item]


@dataclass(frozen=True, slots=True)
class Edge:
    """One follow as written: at `followed_us`, with its follower's row in `shard` of the followee."""

    follower_id: int
    followee_id: int
    followed_us: int
    shard: int

    def puts(self) -> Batch:
        """The statements that write its rows."""
        return [
            (_PUT, (self.follower_id, self.followee_id, self.followed_us, self.shard)),
            (_PUT_FOLLOWING, (self.follower_id, self.followed_us, self.followee_id)),
            (_PUT_FOLLOWER, (self.followee_id, self.shard, self.followed_us, self.follower_id)),
        ]

    def drops(self) -> Batch:
        """The statements that delete its rows."""
        return [
            (_DROP, (self.follower_id, self.followee_id, self.followed_us)),
            (_DROP_FOLLOWING, (self.follower_id, self.followed_us, self.followee_id)),
            (_DROP_FOLLOWER, (self.followee_id, self.shard, self.followed_us, self.follower_id)),
        ]


class EdgeStore:
    """Reads and writes edges, and publishes each change."""

    def __init__(self, session: CqlSession, outbox: Outbox, clock: WriteClock) -> None:
        self._session = session
        self._outbox = outbox
        self._clock = clock
        self._locks = KeyedLock()

    async def follow(self, follower_id: int, shards: Mapping[int, int]) -> None:
        """Follow users, in the order of `shards`: followee -> the shard for their new followers.

        Edges that stand keep their time and are not written or told again.
        """
        pairs = [(follower_id, followee_id) for followee_id in shards]
        async with self._locks.hold_all(pairs):
            there = await self._edges(follower_id, shards)
            missing = [followee_id for followee_id in shards if followee_id not in there]
            first_us = self._clock.next_us(count=len(missing))
            edges = [
                Edge(follower_id, followee_id, first_us + n, shards[followee_id])
                for n, followee_id in enumerate(missing)
            ]
            written = await gather_bounded(4, self._write, chunks(edges, _EDGES_A_BATCH))
        await gather_bounded(_PUBLISHES_AT_ONCE, self._outbox.publish_now, written)

    async def unfollow(self, follower_id: int, followee_id: int) -> None:
        """Delete the edge; nothing where there is none."""
        async with self._locks.hold((follower_id, followee_id)):
            edges = (await self._edges(follower_id, [followee_id])).get(followee_id)
            if not edges:
                return
            at_us = self._clock.next_us(after_us=edges[-1].followed_us)
            row = self._row(edges[0], following=False, changed_us=at_us)
            drops = [item for edge in edges for item in edge.drops()]
            await self._outbox.write(row, drops, timestamp_us=at_us)
        await self._outbox.publish_now(row)

    async def settle(self, follower_id: int, changes: Sequence[FollowChanged]) -> list[Edge]:
        """See to it that the pairs of a follower's events have one edge or none, and that the mesh was
        told which; gives the edges it removed.

        Of several edges the earliest stays. The truth is told anew where an event says otherwise, or
        where edges were removed: most often another event says it too.
        """
        standing = await self._edges(follower_id, {change.followee_id for change in changes})
        removed: list[Edge] = []
        for change in changes:
            edges = standing.get(change.followee_id, [])
            if len(edges) > 1 or bool(edges) != change.following:
                await self._settle_pair(change, edges)
                removed.extend(edges[1:])
        return removed

    async def _settle_pair(self, change: FollowChanged, edges: Sequence[Edge]) -> None:
        follower_id, followee_id = change.follower_id, change.followee_id
        if len(edges) > 1:
            at_us = self._clock.next_us(after_us=edges[-1].followed_us)
            drops = [edge.drops() for edge in edges[1:]]
            in_lists = [item for _, *lists in drops for item in lists]
            # What names the edge goes last: cut off before, the event comes again and finds it.
            await self._session.batch(in_lists, timestamp_us=at_us)
            await self._session.batch([truth for truth, *_ in drops], timestamp_us=at_us)
        # A time before the read: whatever is written meanwhile is told with a later one.
        at_us = self._clock.next_us(after_us=change.changed_us)
        edges = (await self._edges(follower_id, [followee_id])).get(followee_id, [])
        gone = Edge(follower_id, followee_id, change.followed_us, change.shard)
        row = self._row(edges[0] if edges else gone, following=bool(edges), changed_us=at_us)
        await self._outbox.bus.publish(row.subject, row.payload, msg_id=row.msg_id)

    async def restore(self, row: OutboxRow) -> None:
        """Write the change that an outbox row tells of once more, for the relay.

        Nothing where it is there already, or was undone since: an edge's rows are written at its time and
        deleted later.
        """
        changes = changes_of(GraphEvent.FromString(row.payload))
        items: Batch = []
        for change in changes:
            edge = Edge(change.follower_id, change.followee_id, change.followed_us, change.shard)
            items += edge.puts() if change.following else edge.drops()
        await self._session.batch(items, timestamp_us=changes[0].changed_us)

    async def republish(self, edge: Edge) -> None:
        """Tell once more, under the same message id, of an edge that stands. Raises Unavailable."""
        row = self._row(edge, following=True)
        await self._outbox.bus.publish(row.subject, row.payload, msg_id=row.msg_id, timeout_s=10.0)

    async def followers(
        self, followee_id: int, last_shard: int, after: Position, limit: int
    ) -> list[Position]:
        """Up to `limit` followers after a position, newest follow first, over shards 0 to `last_shard`."""

        async def read(shard: int) -> list[Row]:
            return await self._session.execute(_FOLLOWERS, (followee_id, shard, *after, limit))

        shards = await gather_bounded(16, read, range(last_shard + 1))
        merged = heapq.merge(*shards, reverse=True)
        return list(islice(merged, limit))

    async def following(self, follower_id: int, after: Position, limit: int) -> list[Position]:
        """Up to `limit` followees after a position, newest follow first."""
        rows = await self._session.execute(_FOLLOWING, (follower_id, *after, limit))
        return [(followed_us, user_id) for followed_us, user_id in rows]

    async def follower_ids(
        self, followee_id: int, shard: int, after: Position, limit: int
    ) -> list[Position]:
        """Up to `limit` followers of one shard after a position, newest follow first."""
        rows = await self._session.execute(_FOLLOWERS, (followee_id, shard, *after, limit))
        return [(followed_us, user_id) for followed_us, user_id in rows]

    async def followee_ids(self, follower_id: int, after_id: int, limit: int) -> list[int]:
        """Up to `limit` followees with ids above `after_id`, by id; a moment's doubles stand twice."""
        rows = await self._session.execute(_FOLLOWEE_IDS, (follower_id, after_id, limit))
        return [user_id for (user_id,) in rows]

    async def count_followers(self, followee_id: int, shard: int) -> int:
        """How many followers one shard holds now."""
        row = await self._session.one(_COUNT_FOLLOWERS, (followee_id, shard))
        return int(row[0]) if row else 0

    async def count_following(self, follower_id: int) -> int:
        """How many users the user follows now."""
        row = await self._session.one(_COUNT_FOLLOWING, (follower_id,))
        return int(row[0]) if row else 0

    async def _edges(self, follower_id: int, followee_ids: Iterable[int]) -> dict[int, list[Edge]]:
        """The edges to these followees, earliest first; those that are not followed are left out."""
        edges: dict[int, list[Edge]] = {}
        rows = await self._session.execute(_PAIRS, (follower_id, list(followee_ids)))
        for followee_id, followed_us, shard in rows:
            edges.setdefault(followee_id, []).append(
                Edge(follower_id, followee_id, followed_us, shard)
            )
        return edges

    async def _write(self, edges: Sequence[Edge]) -> OutboxRow:
        row = self._row_of_many(edges) if len(edges) > 1 else self._row(edges[0], following=True)
        items = [item for edge in edges for item in edge.puts()]
        # Not later than any followed_us of them: a delete is written later than the edge's.
        await self._outbox.write(row, items, timestamp_us=edges[0].followed_us)
        return row

    def _row(self, edge: Edge, *, following: bool, changed_us: int | None = None) -> OutboxRow:
        change = _change(edge, following, edge.followed_us if changed_us is None else changed_us)
        return self._outbox.row(
            FOLLOW_CHANGED,
            GraphEvent(follow_changed=change),
            msg_id=f"{FOLLOW_CHANGED}:{edge.follower_id}:{edge.followee_id}:{change.changed_us}",
        )

    def _row_of_many(self, edges: Sequence[Edge]) -> OutboxRow:
        """One event for all edges of a batch: JetStream syncs each event to disk."""
        changes = [_change(edge, True, edge.followed_us) for edge in edges]
        first = edges[0]
        return self._outbox.row(
            FOLLOWS_CHANGED,
            GraphEvent(follows_changed=FollowsChanged(changes=changes)),
            msg_id=f"{FOLLOWS_CHANGED}:{first.follower_id}:{first.followee_id}:{first.followed_us}",
        )


def changes_of(event: GraphEvent) -> Sequence[FollowChanged]:
    """The changes that an event tells of, all of one follower."""
    if event.WhichOneof("event") == "follows_changed":
        return event.follows_changed.changes
    return [event.follow_changed]


def _change(edge: Edge, following: bool, changed_us: int) -> FollowChanged:
    return FollowChanged(
        follower_id=edge.follower_id,
        followee_id=edge.followee_id,
        following=following,
        changed_us=changed_us,
        followed_us=edge.followed_us,
        shard=edge.shard,
    )
