"""Edges and counts by reading whole tables: for `graph_svc.republish` alone.

Tables: `edge_store`, `user_store`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from graph_svc.edge_store import Edge
from meshkit.cql import CqlSession, Statement
from meshkit.token_ranges import rows_of

_EDGES = Statement(
    "history.edges",
    "SELECT follower_id, followee_id, followed_us, shard FROM following"
    " WHERE token(follower_id) > ? AND token(follower_id) <= ?"
    " AND followed_us >= ? AND followed_us < ? ALLOW FILTERING",
    idempotent=True,
    fetch_size=1000,
)
_TOTALS = Statement(
    "history.totals",
    "SELECT user_id, kind, shard, total FROM user WHERE token(user_id) > ? AND token(user_id) <= ?",
    idempotent=True,
)


class Total(NamedTuple):
    """A stored count: kind is followers (by shard) or following (shard 0)."""

    user_id: int
    kind: str
    shard: int
    total: int


class HistoryStore:
    """Reads follows and counts."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session

    async def edges(self, from_ms: int, to_ms: int) -> AsyncIterator[Edge]:
        """Follows of [from_ms, to_ms), milliseconds since 1970, that stand."""
        bounds = (from_ms * 1000, to_ms * 1000)
        async for row in rows_of(self._session, _EDGES, bounds):
            yield Edge(*row)

    async def totals(self) -> AsyncIterator[Total]:
        """All counts of followers and of those followed."""
        async for user_id, kind, shard, total in rows_of(self._session, _TOTALS):
            if kind in ("followers", "following"):
                yield Total(user_id, kind, shard, total or 0)
