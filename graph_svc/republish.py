"""`python -m graph_svc.republish FROM_MS TO_MS`: tells the mesh once more of the follows of that time.

For the day on which JetStream is lost. Then all counts of followers and followees are compared with the
rows, and those that differ are stored anew: an unfollow has left no row that could tell of it.
"""

from __future__ import annotations

import sys

from graph_svc.config import GraphConfig
from graph_svc.counter import Counter, Partition
from graph_svc.edge_store import EdgeStore
from graph_svc.history_store import HistoryStore, Total
from graph_svc.user_store import UserStore
from meshkit.cql import CqlSession
from meshkit.events import EventBus
from meshkit.outbox import Outbox
from meshkit.republishing import each, main
from meshkit.streams import COUNTS, GRAPH
from meshkit.write_clock import WriteClock


class Republishing:
    """Goes through the store and tells."""

    def __init__(self, session: CqlSession, bus: EventBus, followers_a_shard: int) -> None:
        clock = WriteClock()
        self._history = HistoryStore(session)
        self._edges = EdgeStore(session, Outbox(session, bus, "graph_outbox"), clock)
        self._counter = Counter(
            UserStore(session, clock), self._edges, bus, clock, followers_a_shard
        )

    async def changes(self, from_ms: int, to_ms: int) -> int:
        """Tell of all follows within [from_ms, to_ms) that stand; how many there were."""
        edges = self._history.edges(from_ms, to_ms)
        return await each("follows told", edges, self._edges.republish)

    async def counts(self) -> None:
        """Compare all counts with the rows; store anew those that differ."""
        await each("users' counts compared", self._history.totals(), self._check)

    async def _check(self, stored: Total) -> None:
        if stored.kind == "following":
            n = await self._edges.count_following(stored.user_id)
            partition = Partition(stored.user_id, "following", 0)
        else:
            n = await self._edges.count_followers(stored.user_id, stored.shard)
            partition = Partition(stored.user_id, "followers", stored.shard)
        if n != stored.total:
            await self._counter.recount(partition)


async def _work(session: CqlSession, bus: EventBus, from_ms: int, to_ms: int) -> None:
    republishing = Republishing(session, bus, GraphConfig.from_env().followers_a_shard)
    await republishing.changes(from_ms, to_ms)
    await republishing.counts()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], [GRAPH, COUNTS], _work))
