"""Waiting until the mesh is at rest: no outbox holds an event, and no consumer has one before it.

Looked at in this order, because events go from the outboxes into the streams; and twice, because handling
one event may publish another: the mesh is at rest when nothing was there both times and no stream grew in
between.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import nats
from nats.js import JetStreamContext

from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement
from meshkit.outbox import SHARDS, OutboxStatements
from stack.errors import StackError
from stack.state import SupervisorStatus

POLL_S = 0.1
STALLED_S = 45.0
"""No change of what is left for this long is a failure."""

_TABLES = Statement(
    "demo.tables",
    "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?",
    idempotent=True,
)
_FOR_EVER_US = 2**63 - 1


class Backlog:
    """Sees how many events are on their way, anywhere in the mesh."""

    def __init__(self, config: MeshConfig, session: CqlSession, client: Any) -> None:
        self._config = config
        self._session = session
        self._client = client
        self._js: JetStreamContext = client.jetstream()
        self._since_minute = int(time.time()) // 60
        self._outboxes: list[OutboxStatements] = []

    @classmethod
    async def open(cls, status: SupervisorStatus) -> "Backlog":
        """Connected to the engines of a running mesh. Counts what enters an outbox from now on."""
        config = config_of(status)
        session = await CqlSession.open(config)
        client = await nats.connect(config.nats_servers(), connect_timeout=5)
        backlog = cls(config, session, client)
        tables = await session.execute(_TABLES, (config.cassandra_keyspace,))
        backlog._outboxes = [
            OutboxStatements(name) for (name,) in tables if name.endswith("_outbox")
        ]
        if not backlog._outboxes:
            raise StackError(f"Keyspace {config.cassandra_keyspace} has no outbox.")
        return backlog

    async def close(self) -> None:
        await self._client.close()
        await self._session.close()

    async def rest(self, seen: Callable[[int], None]) -> None:
        """Returns once the mesh is at rest; `seen` is told how many events are left each time.

        Raises StackError if that number stays the same, and not zero, for STALLED_S.
        """
        before: tuple[int, dict[str, int]] | None = None
        changed_at = time.monotonic()
        while True:
            left = await self._in_outboxes()
            waiting, last = await self._in_streams()
            left += sum(waiting.values())
            now = (left, last)
            if now == before and left == 0:
                return
            if now != before:
                changed_at = time.monotonic()
            elif time.monotonic() - changed_at > STALLED_S:
                stuck = ", ".join(f"{name} {count}" for name, count in waiting.items() if count)
                raise StackError(
                    f"{left} events are stuck ({stuck or 'in an outbox'}).\n"
                    "`starling logs fanout` may say why."
                )
            seen(left)
            before = now
            await asyncio.sleep(POLL_S)

    async def _in_outboxes(self) -> int:
        """Rows that entered an outbox since this began to look, up to 500 a partition."""
        minutes = range(self._since_minute, int(time.time()) // 60 + 1)
        left = 0
        for outbox in self._outboxes:
            for minute in minutes:
                for shard in range(SHARDS):
                    rows = await self._session.execute(
                        outbox.sweep, (shard, minute, 0, "", _FOR_EVER_US)
                    )
                    left += len(rows)
        return left

    async def _in_streams(self) -> tuple[dict[str, int], dict[str, int]]:
        """Consumer -> events not yet acknowledged; stream -> its last sequence."""
        waiting: dict[str, int] = {}
        last: dict[str, int] = {}
        for stream in await self._js.streams_info():
            name = stream.config.name or ""
            if not name.startswith(self._config.nats_prefix):
                continue
            last[name] = stream.state.last_seq
            for consumer in await self._js.consumers_info(name):
                if consumer.config.durable_name:
                    unacked = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
                    waiting[consumer.name] = unacked
        return waiting, last


def config_of(status: SupervisorStatus) -> MeshConfig:
    """How the processes of a running mesh reach its engines."""
    engines = {}
    for process in status.processes:
        if process.name in ("cassandra", "nats"):
            engines.update(process.addresses)
    settings = {name.lower(): value for name, value in status.settings.items()}
    settings.setdefault("cassandra_contact_points", engines.get("cql", ""))
    settings.setdefault("nats_url", engines.get("nats", ""))
    return MeshConfig(service_instance="starling-demo", **_known(settings))


def _known(settings: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name in MeshConfig.model_fields}
