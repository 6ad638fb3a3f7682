"""Publishing, inboxes and durable consumers on a real NATS server, one that is killed and paused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from nats.js.errors import NotFoundError

from meshkit.background import cancel_all
from meshkit.config import MeshConfig
from meshkit.consumer import Consumer, Discard, EventMeta
from meshkit.errors import Unavailable
from meshkit.events import ConsumerSpec, EventBus, StreamSpec
from meshkit.follower import Follower
from tests.conftest import until
from tests.integration.nats_server import NatsServer

NEWS = StreamSpec("NEWS", ("news.>",), max_age_s=3600, max_bytes=10 << 20)


def word(text: str) -> StringValue:
    return StringValue(value=text)


@asynccontextmanager
async def server_and_bus(
    data: Path, *streams: StreamSpec
) -> AsyncIterator[tuple[NatsServer, EventBus]]:
    server = NatsServer(data)
    await server.start()
    config = MeshConfig(nats_url=server.url, nats_prefix="x_")
    bus = await EventBus.open(config, streams or (NEWS,))
    try:
        yield server, bus
    finally:
        await bus.close()
        await server.stop()


@asynccontextmanager
async def running(*work: Consumer | Follower) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.background().run()) for each in work]
    try:
        yield
    finally:
        await cancel_all(tasks)


async def test_an_ack_is_given_and_a_repeat_recognised(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        first = await bus.publish("news.a", word("1"), msg_id="1")
        again = await bus.publish("news.a", word("1"), msg_id="1")
        assert (first.stream, first.sequence, first.duplicate) == ("x_NEWS", 1, False)
        assert (again.sequence, again.duplicate) == (1, True)
        with pytest.raises(Unavailable) as error:
            await bus.publish("nowhere", b"", msg_id="2", timeout_s=0.5)
        assert error.value.reason == "EVENTS_UNAVAILABLE"


async def test_a_full_stream_refuses(tmp_path: Path) -> None:
    small = StreamSpec("SMALL", ("small",), max_age_s=3600, max_bytes=4096)
    async with server_and_bus(tmp_path, small) as (_, bus):

        async def fill() -> None:
            for number in range(20):
                await bus.publish("small", b"x" * 500, msg_id=str(number))

        with pytest.raises(Unavailable):
            await fill()


async def test_changed_definitions_are_applied(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (server, _):
        changed = StreamSpec("NEWS", ("news.>", "more"), max_age_s=60, max_bytes=1 << 20)
        config = MeshConfig(nats_url=server.url, nats_prefix="x_")
        other = await EventBus.open(config, (changed,))
        await other.publish("more", b"", msg_id="1")
        info = await other.js.stream_info("x_NEWS")
        assert info.config.max_age == 60
        await other.close()


async def test_an_inbox_hears_once(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        with bus.inbox() as reply, bus.inbox() as other:
            await bus.notify(reply.subject, b"done")
            assert await reply.wait(2) == b"done"
            assert await other.wait(0.05) is None
        await bus.notify(reply.subject, b"late")


async def test_each_is_handled_with_what_jetstream_knows(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        seen: list[tuple[str, EventMeta]] = []

        async def handle(message: StringValue, meta: EventMeta) -> None:
            seen.append((message.value, meta))

        spec = ConsumerSpec("reader", "NEWS", ("news.*",), max_in_flight=8)
        for number in range(50):
            await bus.publish(f"news.{number % 3}", word(str(number)), msg_id=f"m{number}")
        async with running(
            Consumer(bus, spec, {"news.0": (StringValue, handle), "news.*": (StringValue, handle)})
        ):
            await until(lambda: len(seen) == 50)
        assert sorted(int(text) for text, _ in seen) == list(range(50))
        text, meta = seen[0]
        assert meta.msg_id == f"m{text}"
        assert meta.subject == f"news.{int(text) % 3}"
        assert meta.delivered == 1
        assert abs(meta.published_ms / 1000 - time.time()) < 30


async def test_failures_come_again_and_end_in_the_dead_letters(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        tries: Counter[str] = Counter()

        async def handle(message: StringValue, meta: EventMeta) -> None:
            tries[message.value] += 1
            if message.value == "never":
                raise RuntimeError("it always fails")
            if message.value == "discard":
                raise Discard("nobody can use this")
            if message.value == "later" and tries["later"] < 3:
                raise Unavailable("not yet")

        spec = ConsumerSpec("reader", "NEWS", ("news.a",), max_deliver=4, backoff_s=(0.05, 0.1))
        for text in ("fine", "never", "later", "discard"):
            await bus.publish("news.a", word(text), msg_id=text, headers={"Kind": text})
        await bus.publish("news.a", b"\xff\xff", msg_id="garbage")
        async with running(Consumer(bus, spec, {"news.a": (StringValue, handle)})):

            async def settled() -> bool:
                try:
                    info = await bus.js.consumer_info("x_NEWS", "reader")
                except NotFoundError:
                    return False
                return info.ack_floor is not None and info.ack_floor.stream_seq == 5

            await until(settled)
            assert tries == {"fine": 1, "never": 4, "later": 3, "discard": 1}
        dead: dict[str, str] = {}
        for sequence in range(1, (await bus.js.stream_info("x_DLQ")).state.last_seq + 1):
            message = await bus.js.get_msg("x_DLQ", sequence)
            assert message.subject == "x_dlq.NEWS.reader"
            assert message.headers is not None
            dead[message.headers.get("Kind", "")] = message.headers["Starling-Dead-Reason"]
        assert dead.pop("").startswith("Error parsing")
        assert dead == {"never": "RuntimeError: it always fails", "discard": "nobody can use this"}


async def test_a_long_handler_is_not_given_a_second_time(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        tries = 0
        done = asyncio.Event()

        async def handle(message: StringValue, meta: EventMeta) -> None:
            nonlocal tries
            tries += 1
            await asyncio.sleep(5)
            done.set()

        spec = ConsumerSpec("slow", "NEWS", ("news.a",), ack_wait_s=2.0)
        await bus.publish("news.a", word("1"), msg_id="1")
        async with running(Consumer(bus, spec, {"news.a": (StringValue, handle)})):
            await asyncio.wait_for(done.wait(), 30)
            await asyncio.sleep(0.3)
        assert tries == 1


async def test_a_consumer_survives_a_killed_server(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (server, bus):
        seen: set[str] = set()

        async def handle(message: StringValue, meta: EventMeta) -> None:
            seen.add(message.value)

        spec = ConsumerSpec("reader", "NEWS", ("news.a",), ack_wait_s=2.0)
        async with running(Consumer(bus, spec, {"news.a": (StringValue, handle)})):
            for lap in range(3):
                await _publish_until_stored(bus, f"before{lap}")
                await until(partial(seen.__contains__, f"before{lap}"), 15)
                await server.kill()
                started = time.monotonic()
                with pytest.raises(Unavailable):
                    await _publish_many(bus)
                assert time.monotonic() - started < 15
                await server.start()
                await _publish_until_stored(bus, f"after{lap}")
                await until(partial(seen.__contains__, f"after{lap}"), 15)


async def test_a_consumer_survives_a_deleted_stream(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        seen: set[str] = set()

        async def handle(message: StringValue, meta: EventMeta) -> None:
            seen.add(message.value)

        spec = ConsumerSpec("reader", "NEWS", ("news.a",))
        async with running(Consumer(bus, spec, {"news.a": (StringValue, handle)})):
            await _publish_until_stored(bus, "1")
            await until(lambda: "1" in seen)
            await bus.js.delete_stream("x_NEWS")
            await _publish_until_stored(bus, "2")
            await until(lambda: "2" in seen, 20)


async def test_a_follower_sees_all_in_order_through_a_restart(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (server, bus):
        seen: list[str] = []
        for number in range(30):
            await bus.publish("news.a", word(str(number)), msg_id=str(number))
        follower = Follower(
            bus, "NEWS", lambda data, _: seen.append(StringValue.FromString(data).value), since_s=60
        )
        async with running(follower):
            assert await follower.caught_up(10)
            assert follower.sequence == 30
            assert follower.connected
            await server.kill()
            await server.start()
            for number in range(30, 60):
                await _publish_until_stored(bus, str(number))
            assert await follower.wait_sequence(60, 15)
        assert seen == [str(number) for number in range(60)]


async def test_a_follower_notices_a_stream_made_anew(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        seen: list[str] = []
        resets: list[bool] = []
        for number in range(5):
            await bus.publish("news.a", word(str(number)), msg_id=str(number))
        follower = Follower(
            bus,
            "NEWS",
            lambda data, _: seen.append(StringValue.FromString(data).value),
            on_reset=lambda: resets.append(True),
        )
        async with running(follower):
            assert await follower.wait_sequence(5, 10)
            await bus.js.delete_stream("x_NEWS")
            await _publish_until_stored(bus, "new")
            await until(lambda: "new" in seen, 20)
        assert resets == [True]
        assert follower.sequence == 1


async def test_a_follower_that_was_away_knows_a_new_stream_that_is_longer(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        seen: list[str] = []
        resets: list[bool] = []
        follower = Follower(
            bus,
            "NEWS",
            lambda data, _: seen.append(StringValue.FromString(data).value),
            on_reset=lambda: resets.append(True),
        )
        await bus.publish("news.a", word("old"), msg_id="old")
        async with running(follower):
            assert await follower.wait_sequence(1, 15)
        made_ms = follower.created_ms
        await bus.js.delete_stream("x_NEWS")
        for number in range(3):
            await _publish_until_stored(bus, str(number))
        async with running(follower):
            assert await follower.wait_sequence(3, 15)
        assert seen == ["old", "0", "1", "2"]
        assert resets == [True]
        assert follower.created_ms > made_ms


async def test_an_empty_stream_counts_as_caught_up(tmp_path: Path) -> None:
    async with server_and_bus(tmp_path) as (_, bus):
        follower = Follower(bus, "NEWS", lambda data, meta: None, since_s=60)
        async with running(follower):
            assert await follower.caught_up(5)


async def test_without_nats_calls_fail_at_once_and_recover(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    bus = await EventBus.open(MeshConfig(nats_url=server.url), (NEWS,), wait_s=0.1)
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await bus.publish("news.a", b"", msg_id="1")
        assert time.monotonic() - started < 5
        await server.start()
        await asyncio.wait_for(bus.wait_connected(), 30)
        await bus.publish("news.a", b"", msg_id="1")
    finally:
        await bus.close()
        await server.stop()


async def _publish_until_stored(bus: EventBus, text: str) -> None:
    async def stored() -> bool:
        try:
            await bus.publish("news.a", word(text), msg_id=text)
        except Unavailable:
            await asyncio.sleep(0.1)
            return False
        return True

    await until(stored, 20)


async def _publish_many(bus: EventBus) -> None:
    for _ in range(100):
        await bus.publish("news.a", word("x"), msg_id=token_hex(4), timeout_s=0.5)
