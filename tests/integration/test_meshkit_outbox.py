"""The outbox on real Cassandra and NATS: what was written is heard, whatever happens in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.wrappers_pb2 import StringValue

from meshkit import outbox as outbox_module
from meshkit import relay as relay_module
from meshkit.background import cancel_all
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement
from meshkit.errors import Unavailable
from meshkit.events import EventBus, StreamSpec
from meshkit.outbox import MINUTE_US, Outbox, OutboxRow
from meshkit.relay import Relay
from tests.conftest import until
from tests.integration.nats_server import NatsServer

NEWS = StreamSpec("NEWS", ("news",), max_age_s=3600, max_bytes=64 << 20)
ITEM = Statement("test.item", "INSERT INTO news_item (k, v) VALUES (?, ?)", idempotent=True)
ITEM_OF = Statement("test.item_of", "SELECT v FROM news_item WHERE k = ?", idempotent=True)
LEFT = Statement("test.left", "SELECT msg_id FROM news_outbox", idempotent=True)
PROGRESS = Statement(
    "test.progress", "SELECT swept_minute FROM news_outbox_progress", idempotent=True
)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def tables(session: CqlSession) -> None:
    """The tables as the outbox's docstring gives them to services."""
    text = (outbox_module.__doc__ or "").replace("tweet_", "news_")
    for part in text.split("CREATE TABLE")[1:]:
        lines = [line.split("--")[0] for line in part.split(";")[0].splitlines()]
        await session.ddl("CREATE TABLE" + " ".join(lines))
    await session.ddl("CREATE TABLE news_item (k int PRIMARY KEY, v text)")


@pytest_asyncio.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def outbox(session: CqlSession, nats: NatsServer) -> AsyncIterator[Outbox]:
    for table in ("news_outbox", "news_outbox_lease", "news_outbox_progress"):
        await session.ddl(f"TRUNCATE {table}")
    bus = await EventBus.open(MeshConfig(nats_url=nats.url), (NEWS,))
    yield Outbox(session, bus, "news_outbox")
    await bus.close()


async def write(outbox: Outbox, number: int, age_s: float = 0.0) -> OutboxRow:
    """Write one event as a service does, `age_s` ago."""
    row = outbox.row(
        "news",
        StringValue(value=str(number)),
        msg_id=f"news:{number}",
        headers={"Number": str(number)},
        created_us=time.time_ns() // 1000 - int(age_s * 1e6),
    )
    await outbox.session.batch([outbox.insert(row)], timestamp_us=row.created_us)
    return row


async def heard(outbox: Outbox) -> list[int]:
    """The events in the stream, in its order."""
    numbers = []
    info = await outbox.bus.js.stream_info("NEWS")
    if not info.state.messages:
        return []
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await outbox.bus.js.get_msg("NEWS", sequence)
        assert message.data is not None
        numbers.append(int(StringValue.FromString(message.data).value))
    return numbers


async def left(outbox: Outbox) -> int:
    return len(await outbox.session.execute(LEFT))


async def test_the_fast_path_publishes_and_forgets(outbox: Outbox) -> None:
    rows = [await write(outbox, number) for number in range(20)]
    assert all(await asyncio.gather(*(outbox.publish_now(row) for row in rows)))
    await outbox.flush()
    assert await left(outbox) == 0
    assert sorted(await heard(outbox)) == list(range(20))
    message = await outbox.bus.js.get_msg("NEWS", 1)
    assert message.headers is not None
    assert message.headers["Nats-Msg-Id"] == f"news:{message.headers['Number']}"


async def test_the_relay_publishes_what_a_crash_left(outbox: Outbox) -> None:
    for number in range(30):
        # From just now to a quarter of an hour ago, over many minutes: as of processes long dead.
        await write(outbox, number, age_s=3.0 + number * 28)
    relay = asyncio.create_task(Relay(outbox, "a", tick_s=0.1).run())

    async def all_heard() -> bool:
        return len(await heard(outbox)) == 30 and await left(outbox) == 0

    await until(all_heard, 20)
    await write(outbox, 30)
    await until(lambda: _count(outbox, 31), 10)
    await cancel_all([relay])
    assert sorted(await heard(outbox)) == list(range(31))


async def test_fresh_rows_are_left_to_the_fast_path(outbox: Outbox) -> None:
    relay = Relay(outbox, "a", tick_s=0.05)
    task = asyncio.create_task(relay.run())
    await until(lambda: relay.leading)
    written = time.monotonic()
    await write(outbox, 1)
    await until(lambda: _count(outbox, 1))
    assert time.monotonic() - written > 1.5
    await cancel_all([task])


async def test_nats_down_loses_nothing(outbox: Outbox, nats: NatsServer) -> None:
    relay = asyncio.create_task(Relay(outbox, "a", tick_s=0.1).run())
    await nats.kill()
    rows = [await write(outbox, number) for number in range(10)]
    started = time.monotonic()
    assert not any([await outbox.publish_now(row) for row in rows])
    assert time.monotonic() - started < 8
    assert await left(outbox) == 10
    await nats.start()

    async def all_heard() -> bool:
        return outbox.bus.connected and await left(outbox) == 0

    await until(all_heard, 20)
    await cancel_all([relay])
    assert sorted(await heard(outbox)) == list(range(10))


async def test_more_than_a_page_of_one_microsecond_is_relayed(outbox: Outbox) -> None:
    at_us = time.time_ns() // 1000 - 5_000_000
    rows = [
        outbox.row("news", StringValue(value=str(n)), msg_id=f"news:{n}", created_us=at_us)
        for n in range(2_600)
    ]
    for start in range(0, len(rows), 100):
        items = [outbox.insert(row) for row in rows[start : start + 100]]
        await outbox.session.batch(items)
    relay = asyncio.create_task(Relay(outbox, "a", tick_s=0.1).run())

    async def done() -> bool:
        return await left(outbox) == 0

    await until(done, 30)
    await cancel_all([relay])
    info = await outbox.bus.js.stream_info("NEWS")
    assert info.state.messages == 2_600


async def test_one_relay_leads_and_another_takes_over(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "LEASE_S", 2)
    monkeypatch.setattr(relay_module, "RENEW_S", 0.5)
    relays = [Relay(outbox, name, tick_s=0.1) for name in ("a", "b")]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    await until(lambda: any(relay.leading for relay in relays))
    for _ in range(20):
        assert sum(relay.leading for relay in relays) == 1
        await asyncio.sleep(0.1)
    first = 0 if relays[0].leading else 1
    # Given back at a clean stop, the other has it soon; after a kill, when the lease is over.
    await cancel_all([tasks[first]])
    await until(lambda: relays[1 - first].leading)
    # The same instance, restarted, need not wait for its own lease.
    again = Relay(outbox, "ab"[1 - first], tick_s=0.1)
    task = asyncio.create_task(again.run())
    await until(lambda: again.leading)
    await cancel_all([tasks[1 - first], task])


async def test_who_cannot_read_where_to_begin_does_not_lead(outbox: Outbox) -> None:
    await write(outbox, 1, age_s=5.0)
    away = True

    class Flaky:
        def __getattr__(self, name: str) -> Any:
            return getattr(outbox.session, name)

        async def one(self, *args: Any) -> Any:
            if away:
                raise Unavailable("just now")
            return await outbox.session.one(*args)

    flaky: Any = Flaky()
    relay = Relay(Outbox(flaky, outbox.bus, "news_outbox"), "a", tick_s=0.1)
    with pytest.raises(Unavailable):
        await relay._lease()
    assert not relay.leading
    away = False
    task = asyncio.create_task(relay.run())
    await until(lambda: _count(outbox, 1), 10)
    await cancel_all([task])


async def test_a_late_write_is_found_before_the_watermark_passes(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "HOLD_S", 0.3)
    ahead_us = 0
    outbox.clock_us = lambda: time.time_ns() // 1000 + ahead_us

    async def swept_minutes_ago() -> int:
        rows = await outbox.session.execute(PROGRESS)
        return outbox.clock_us() // MINUTE_US - rows[0][0] if rows else 999

    async def passed() -> bool:
        return await swept_minutes_ago() == 11

    relay = asyncio.create_task(Relay(outbox, "a", tick_s=0.1).run())
    await until(passed, 20)
    # As when a store carries out late what it was told: in a minute that the relay passed nine minutes ago.
    await write(outbox, 1, age_s=9 * 60)
    await asyncio.sleep(0.5)
    assert await heard(outbox) == []
    ahead_us = 2 * MINUTE_US
    await until(lambda: _count(outbox, 1), 15)
    await until(passed, 20)
    await cancel_all([relay])


async def test_what_a_caller_walked_away_from_is_done_at_once(outbox: Outbox) -> None:
    """Cancelled between the row and the change: the change comes, and is told, without a relay."""
    reached = asyncio.Event()

    class Walked:
        def __getattr__(self, name: str) -> Any:
            return getattr(outbox.session, name)

        async def batch(self, *args: Any, **kwargs: Any) -> None:
            if not reached.is_set():
                reached.set()
                await asyncio.Event().wait()
            await outbox.session.batch(*args, **kwargs)

    walked: Any = Walked()
    own = Outbox(walked, outbox.bus, "news_outbox")
    row = own.row("news", StringValue(value="1"), msg_id="news:1")
    call = asyncio.create_task(own.write(row, [(ITEM, (1, "there"))], timestamp_us=row.created_us))
    await asyncio.wait_for(reached.wait(), 5)
    await cancel_all([call])
    await until(lambda: _count(outbox, 1), 5)
    assert await outbox.session.one(ITEM_OF, (1,)) == ("there",)
    await own.flush()
    assert await left(outbox) == 0


async def test_a_row_of_a_clock_that_is_ahead_is_deleted(outbox: Outbox) -> None:
    row = await write(outbox, 1, age_s=-30.0)
    assert await outbox.publish_now(row)
    await outbox.flush()
    assert await left(outbox) == 0


async def test_a_row_that_fails_holds_up_no_other(outbox: Outbox) -> None:
    for number in range(20):
        await write(outbox, number, age_s=3.0)
    failing = True

    async def restore(row: OutboxRow) -> None:
        if failing and row.msg_id == "news:0":
            raise Unavailable("not this one")

    one_by_one = Relay(outbox, "a", restore=restore, tick_s=0.1, concurrency=1)
    relay = asyncio.create_task(one_by_one.run())
    await until(lambda: _count(outbox, 19), 15)
    assert 0 not in await heard(outbox)
    failing = False
    await until(lambda: _count(outbox, 20), 15)
    await cancel_all([relay])


async def test_a_row_of_newer_code_waits_for_it(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left alone, loudly, and the watermark waits: the next relay to lead begins before it."""
    monkeypatch.setattr(relay_module, "HOLD_S", 0.3)

    async def restore(row: OutboxRow) -> None:
        if row.msg_id == "news:1":
            raise ValueError("no change that is known here")

    await write(outbox, 1, age_s=12 * 60)
    await write(outbox, 2, age_s=12 * 60)
    old = asyncio.create_task(Relay(outbox, "old", restore=restore, tick_s=0.1).run())

    async def passed() -> bool:
        return bool(await outbox.session.execute(PROGRESS))

    await until(passed, 20)
    assert await heard(outbox) == [2]
    await outbox.flush()
    assert await left(outbox) == 1
    await cancel_all([old])
    new = asyncio.create_task(Relay(outbox, "new", tick_s=0.1).run())
    await until(lambda: _count(outbox, 2), 20)
    await cancel_all([new])
    await outbox.flush()
    assert await left(outbox) == 0


async def _count(outbox: Outbox, expected: int) -> bool:
    return len(await heard(outbox)) == expected
