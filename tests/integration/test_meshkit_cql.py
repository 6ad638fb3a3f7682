"""The Cassandra session on a real server: types, paging, batches, lightweight transactions, absence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshkit import deadline
from meshkit.background import gather_bounded
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement
from meshkit.errors import DeadlineExceeded, Unavailable

INSERT = Statement("t.insert", "INSERT INTO t (k, c, v) VALUES (?, ?, ?)", idempotent=True)
GET = Statement("t.get", "SELECT c, v FROM t WHERE k = ?", idempotent=True)
ONE = Statement("t.one", "SELECT v FROM t WHERE k = ? AND c = ?", idempotent=True)
PAGED = Statement("t.paged", "SELECT c FROM t WHERE k = ?", idempotent=True, fetch_size=10)
WRITTEN = Statement(
    "t.written", "SELECT WRITETIME(v) FROM t WHERE k = ? AND c = ?", idempotent=True
)
CREATE = Statement(
    "l.create", "INSERT INTO l (k, owner) VALUES (?, ?) IF NOT EXISTS", idempotent=False
)
CHANGE = Statement("l.change", "UPDATE l SET owner = ? WHERE k = ? IF owner = ?", idempotent=False)
OWNER = Statement("l.owner", "SELECT owner FROM l WHERE k = ?", idempotent=True, serial=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def tables(session: CqlSession) -> AsyncIterator[None]:
    await session.ddl("CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))")
    await session.ddl("CREATE TABLE l (k int PRIMARY KEY, owner text)")
    yield


async def test_rows_are_tuples_in_the_order_selected(session: CqlSession) -> None:
    assert await session.execute(GET, (1,)) == []
    assert await session.one(GET, (1,)) is None
    await session.execute(INSERT, (1, 2, "two"))
    await session.execute(INSERT, (1, 1, "one"))
    assert await session.execute(GET, (1,)) == [(1, "one"), (2, "two")]
    assert await session.one(GET, (1,)) == (1, "one")


async def test_pages_bring_every_row_once(session: CqlSession) -> None:
    await gather_bounded(16, lambda c: session.execute(INSERT, (2, c, "")), range(95))
    pages = [[c for (c,) in page] async for page in session.pages(PAGED, (2,))]
    assert [len(page) for page in pages] == [10] * 9 + [5]
    assert [c for page in pages for c in page] == list(range(95))


async def test_more_than_a_socket_takes_at_once_arrives(session: CqlSession) -> None:
    texts = {c: f"{c % 10}" * 400_000 for c in range(24)}
    await asyncio.gather(*(session.execute(INSERT, (9, c, text)) for c, text in texts.items()))
    for c, text in texts.items():
        assert await session.one(ONE, (9, c)) == (text,)


async def test_a_batch_has_one_write_time(session: CqlSession) -> None:
    await session.batch([(INSERT, (3, 1, "a")), (INSERT, (4, 1, "b"))], timestamp_us=1_000_000_000)
    assert await session.one(WRITTEN, (3, 1)) == (1_000_000_000,)
    assert await session.one(WRITTEN, (4, 1)) == (1_000_000_000,)
    await session.execute(INSERT, (3, 1, "older"), timestamp_us=999_999_999)
    assert await session.one(GET, (3,)) == (1, "a")
    await session.execute(INSERT, (3, 1, "now"))
    written = await session.one(WRITTEN, (3, 1))
    assert written is not None
    assert abs(written[0] / 1e6 - time.time()) < 5


async def test_lightweight_transactions_say_what_they_met(session: CqlSession) -> None:
    assert (await session.execute_lwt(CREATE, (1, "ann"))).applied
    met = await session.execute_lwt(CREATE, (1, "bob"))
    assert (met.applied, met.row) == (False, {"k": 1, "owner": "ann"})
    met = await session.execute_lwt(CHANGE, ("bob", 1, "eve"))
    assert (met.applied, met.row) == (False, {"owner": "ann"})
    assert (await session.execute_lwt(CHANGE, ("bob", 1, "ann"))).applied
    assert await session.one(OWNER, (1,)) == ("bob",)


async def test_only_one_of_many_wins(session: CqlSession) -> None:
    results = await asyncio.gather(
        *(session.execute_lwt(CREATE, (2, f"p{number}")) for number in range(10))
    )
    assert sum(result.applied for result in results) == 1


async def test_a_past_deadline_sends_nothing(session: CqlSession) -> None:
    with deadline.within(0.01), pytest.raises(DeadlineExceeded):
        await session.execute(INSERT, (5, 1, "never"))
    assert await session.execute(GET, (5,)) == []


async def test_without_cassandra_calls_fail_at_once(mesh_config: MeshConfig) -> None:
    nowhere = mesh_config.model_copy(update={"cassandra_contact_points": "127.0.0.1:1"})
    session = await CqlSession.open(nowhere, wait_s=0.2)
    started = time.monotonic()
    with pytest.raises(Unavailable) as error:
        await session.execute(GET, (1,))
    assert error.value.reason == "STORE_UNAVAILABLE"
    assert time.monotonic() - started < 5
    assert not session.connected
    await session.close()
