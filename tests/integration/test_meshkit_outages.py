"""Cassandra going away and coming back under a session, and lightweight transactions nobody answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshkit import deadline
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement
from meshkit.errors import DeadlineExceeded, OutcomeUnknown, StarlingError, Unavailable
from meshkit.snowflake import SnowflakeGenerator
from meshkit.worker_lease import WorkerLease
from tests.conftest import until
from tests.integration.proxy import Proxy

CREATE = Statement(
    "o.create", "INSERT INTO o (k, owner) VALUES (?, ?) IF NOT EXISTS", idempotent=False
)
OWNER = Statement("o.owner", "SELECT owner FROM o WHERE k = ?", idempotent=True, serial=True)
WRITE = Statement("o.write", "INSERT INTO o2 (k, owner) VALUES (?, ?)", idempotent=True)
READ = Statement("o.read", "SELECT owner FROM o2 WHERE k = ?", idempotent=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def tables(session: CqlSession) -> None:
    await session.ddl("CREATE TABLE o (k int PRIMARY KEY, owner text)")
    await session.ddl("CREATE TABLE o2 (k int PRIMARY KEY, owner text)")


@pytest_asyncio.fixture
async def proxy(mesh_config: MeshConfig) -> AsyncIterator[Proxy]:
    started = Proxy(mesh_config.cassandra_contact_points)
    await started.start()
    yield started
    await started.stop()


@pytest_asyncio.fixture
async def behind(mesh_config: MeshConfig, proxy: Proxy) -> AsyncIterator[CqlSession]:
    """A session through the proxy."""
    config = mesh_config.model_copy(
        update={"cassandra_contact_points": proxy.address, "cassandra_timeout_s": 1.0}
    )
    opened = await CqlSession.open(config)
    yield opened
    await opened.close()


async def test_an_lwt_without_an_answer_is_unknown_and_read_back(
    behind: CqlSession, proxy: Proxy
) -> None:
    await behind.execute_lwt(CREATE, (0, "warm"))
    assert await behind.one(OWNER, (0,)) == ("warm",)
    proxy.hold_answers = True
    with pytest.raises(OutcomeUnknown):
        await behind.execute_lwt(CREATE, (1, "ann"))
    proxy.hold_answers = False
    assert await behind.one(OWNER, (1,)) == ("ann",), "it was applied, though nobody said so"


async def test_an_lwt_whose_connection_breaks_is_unknown(behind: CqlSession, proxy: Proxy) -> None:
    await behind.execute_lwt(CREATE, (0, "warm"))
    proxy.hold_answers = True
    call = asyncio.ensure_future(behind.execute_lwt(CREATE, (2, "ann")))
    await until(lambda: proxy.held > 0)
    await proxy.stop()
    with pytest.raises(OutcomeUnknown):
        await call
    proxy.hold_answers = False
    await proxy.start()


async def test_a_lease_survives_lost_answers(behind: CqlSession, proxy: Proxy) -> None:
    ids = SnowflakeGenerator()
    lease = WorkerLease(behind, ids, "p")
    await lease.renew()
    await lease.renew()
    worker = ids.worker
    proxy.hold_answers = True
    with pytest.raises(StarlingError):
        await lease.renew()
    assert ids.next_id()
    proxy.hold_answers = False
    await lease.renew()
    assert ids.worker == worker


async def test_the_deadline_ends_a_statement_without_an_answer(
    behind: CqlSession, proxy: Proxy
) -> None:
    await behind.execute(READ, (1,))
    proxy.hold_answers = True
    started = time.monotonic()
    with deadline.within(0.3), pytest.raises(DeadlineExceeded):
        await behind.execute(READ, (1,))
    assert time.monotonic() - started < 5
    with pytest.raises(Unavailable):
        await behind.execute(READ, (1,))
    proxy.hold_answers = False


async def test_cassandra_gone_fails_quickly_and_comes_back(
    behind: CqlSession, proxy: Proxy
) -> None:
    await behind.execute(WRITE, (1, "ann"))
    await proxy.stop()

    async def gone() -> bool:
        try:
            await behind.execute(WRITE, (2, "bob"))
        except (Unavailable, DeadlineExceeded):
            return True
        return False

    await until(gone, what="noticing that it is gone")
    started = time.monotonic()
    for _ in range(50):
        with pytest.raises(Unavailable):
            await behind.execute(WRITE, (2, "bob"))
    assert time.monotonic() - started < 15
    await proxy.start()

    async def back() -> bool:
        try:
            return await behind.one(READ, (1,)) == ("ann",)
        except Unavailable:
            return False

    await until(back, 20, "the reconnection")


async def test_a_session_opened_without_cassandra_connects_later(mesh_config: MeshConfig) -> None:
    proxy = Proxy(mesh_config.cassandra_contact_points)
    await proxy.start()
    await proxy.stop()
    config = mesh_config.model_copy(update={"cassandra_contact_points": proxy.address})
    session = await CqlSession.open(config, wait_s=0.5)
    try:
        with pytest.raises(Unavailable):
            await session.execute(READ, (1,))
        await proxy.start()
        async with asyncio.timeout(10):
            await session.wait_connected()
        await session.execute(READ, (1,))
    finally:
        await session.close()
        await proxy.stop()
