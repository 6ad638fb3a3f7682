"""`python -m bench.cql`: CPU of a statement in this process, by who watches the connection's socket.

The loop that asks (`meshkit.cql_connection`) and libev in a thread of its own, in turns; one statement after
another, and sixteen at once. Uses the Cassandra that the environment names (CASSANDRA_CONTACT_POINTS).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from cassandra.cluster import Cluster, Session

from meshkit import cql_policy, schema
from meshkit.background import gather_bounded
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement

_TURNS = 3
_ROWS = 50
_GET = Statement("bench.get", "SELECT v, w FROM bench WHERE k = ?", idempotent=True)
_PUT = Statement("bench.put", "INSERT INTO bench (k, v, w) VALUES (?, ?, ?)", idempotent=True)

Call = Callable[[CqlSession, int], Awaitable[Any]]


class _InAThread(CqlSession):
    """With a connection as the driver has it."""

    def _open(self) -> tuple[Cluster, Session]:
        cluster = cql_policy.cluster(self._config, self._timestamp)
        return cluster, cluster.connect(self._config.cassandra_keyspace)


async def main() -> None:
    """Prints the figures."""
    config = MeshConfig.from_env().model_copy(
        update={"cassandra_keyspace": f"bench_{secrets.token_hex(4)}"}
    )
    await asyncio.to_thread(schema.apply, config, found=[])
    sessions = {"loop": await CqlSession.open(config), "thread": await _InAThread.open(config)}
    try:
        await sessions["loop"].ddl("CREATE TABLE bench (k int PRIMARY KEY, v text, w bigint)")
        print("µs a statement: kind, at once, by the loop and by a thread")
        for _ in range(_TURNS):
            for kind, call in _KINDS.items():
                for at_once in (1, 16):
                    us = [await _us(each, call, at_once) for each in sessions.values()]
                    print(f"  {kind:16}{at_once:4}" + "".join(f"{each:8.0f}" for each in us))
    finally:
        for session in sessions.values():
            await session.close()
        await asyncio.to_thread(schema.drop, config)


async def _us(session: CqlSession, call: Call, at_once: int) -> float:
    count = 500 * min(at_once, 6)
    await call(session, 0)
    began = time.process_time()
    await gather_bounded(at_once, lambda number: call(session, number), range(count))
    return 1e6 * (time.process_time() - began) / count


def _row(number: int) -> tuple[Statement, tuple[Any, ...]]:
    return _PUT, (number % _ROWS, "text", number)


_KINDS: dict[str, Call] = {
    "read": lambda session, number: session.execute(_GET, (number % _ROWS,)),
    "write": lambda session, number: session.execute(*_row(number)),
    "batch of three": lambda session, number: session.batch(
        [_row(number + each) for each in range(3)]
    ),
}

if __name__ == "__main__":
    uvloop.run(main())
