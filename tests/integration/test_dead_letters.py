"""Dead letters on a real NATS server: looked at, given again to who failed, and to nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from nats.errors import TimeoutError as NatsTimeoutError
from starling.tweet.v1.tweet_events_pb2 import LikeChanged, TweetEvent

from meshkit.background import cancel_all
from meshkit.config import MeshConfig
from meshkit.consumer import Consumer, EventMeta
from meshkit.dead_letters import CannotReplay, DeadLetter, DeadLetters
from meshkit.errors import Unavailable
from meshkit.events import ConsumerSpec, EventBus
from meshkit.streams import LIKE_CHANGED, TWEET_DELETED, TWEETS
from stack import state
from stack.run_dir import RunDir
from tests.conftest import until
from tests.integration.nats_server import NatsServer

TRACE = "0af7651916cd43dd8448eb211c80319c"
BROKEN = ConsumerSpec("broken", TWEETS.name, (LIKE_CHANGED,), max_deliver=2, backoff_s=(0.02,))
SOUND = ConsumerSpec("sound", TWEETS.name, (LIKE_CHANGED,))
EVERYTHING = ConsumerSpec("everything", TWEETS.name)


class Ears:
    """Two consumers of the same events, one of which fails until it is mended, and one by its routes."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.mended = False
        self.heard: dict[str, Counter[int]] = {
            name: Counter() for name in ("broken", "sound", "everything")
        }
        self.metas: list[EventMeta] = []

    def consumers(self) -> list[Consumer]:
        return [
            Consumer(self.bus, spec, {LIKE_CHANGED: (TweetEvent, self._handler(spec.name))})
            for spec in (BROKEN, SOUND, EVERYTHING)
        ]

    def _handler(self, name: str):  # type: ignore[no-untyped-def]
        async def handle(event: TweetEvent, meta: EventMeta) -> None:
            if name == "broken":
                if not self.mended:
                    raise RuntimeError("this is\nbroken")
                self.metas.append(meta)
            self.heard[name][event.like_changed.tweet_id] += 1

        return handle


@pytest_asyncio.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def ears(nats: NatsServer) -> AsyncIterator[Ears]:
    bus = await EventBus.open(MeshConfig(nats_url=nats.url, nats_prefix="x_"), (TWEETS,))
    ears = Ears(bus)
    tasks = [asyncio.create_task(each.run()) for each in ears.consumers()]
    yield ears
    await cancel_all(tasks)
    await bus.close()


async def buried(ears: Ears, *tweet_ids: int) -> list[DeadLetter]:
    """Events that the broken consumer gave up on."""
    letters = DeadLetters(ears.bus.js, "x_")
    for tweet_id in tweet_ids:
        await ears.bus.publish(
            LIKE_CHANGED,
            TweetEvent(like_changed=LikeChanged(tweet_id=tweet_id, user_id=7, liked=True)),
            msg_id=f"like:{tweet_id}",
            headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        )

    async def all_there() -> bool:
        return len(await listed(letters)) == len(tweet_ids)

    await until(all_there, 20, "the burial")
    for name in ("sound", "everything"):
        heard = ears.heard[name]
        await until(lambda heard=heard: len(heard) == len(tweet_ids), 20)  # type: ignore[misc]
    return await listed(letters)


async def listed(letters: DeadLetters) -> list[DeadLetter]:
    return [letter async for letter in letters.all()]


async def test_a_dead_letter_is_given_again_to_its_consumer_alone(ears: Ears) -> None:
    letters = DeadLetters(ears.bus.js, "x_")
    one, two = await buried(ears, 1, 2)
    assert (one.stream, one.consumer, one.subject) == ("TWEETS", "broken", LIKE_CHANGED)
    assert (one.deliveries, one.reason) == (2, "RuntimeError: this is broken")
    assert (one.stream_sequence, two.stream_sequence) == (1, 2)
    assert one.trace_id == TRACE

    ears.mended = True
    await letters.replay(one)
    await until(lambda: ears.heard["broken"][1] == 1, 15)
    assert [letter.sequence for letter in await listed(letters)] == [two.sequence]
    assert ears.metas[0].subject == LIKE_CHANGED, "handlers and routes know the first subject"
    # What comes after is heard by all: had the others been given the one above, they had it by now.
    await ears.bus.publish(
        LIKE_CHANGED, TweetEvent(like_changed=LikeChanged(tweet_id=3)), msg_id="like:3"
    )
    for name in ("sound", "everything"):
        heard = ears.heard[name]
        await until(lambda heard=heard: heard[3] == 1, 15)  # type: ignore[misc]
        assert heard == {1: 1, 2: 1, 3: 1}


async def test_a_replay_cut_off_before_the_removal_takes_effect_once(
    ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = DeadLetters(ears.bus.js, "x_")
    (one,) = await buried(ears, 1)
    ears.mended = True
    js = ears.bus.js

    async def killed(stream: str, sequence: int) -> bool:
        raise NatsTimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(js, "delete_msg", killed)
        with pytest.raises(NatsTimeoutError):
            await letters.replay(one)
    assert [letter.sequence for letter in await listed(letters)] == [one.sequence]
    await until(lambda: ears.heard["broken"][1] == 1, 15)
    await letters.replay(one)
    assert await listed(letters) == []
    await ears.bus.publish(
        LIKE_CHANGED, TweetEvent(like_changed=LikeChanged(tweet_id=9)), msg_id="like:9"
    )
    await until(lambda: ears.heard["broken"][9] == 1, 15)
    assert ears.heard["broken"][1] == 1


async def test_what_nobody_takes_stays(ears: Ears) -> None:
    letters = DeadLetters(ears.bus.js, "x_")
    (one,) = await buried(ears, 1)
    with pytest.raises(CannotReplay, match="no consumer gone"):
        await letters.replay(replace(one, consumer="gone"))
    assert [letter.sequence for letter in await listed(letters)] == [one.sequence]


async def test_what_fails_again_is_buried_again(ears: Ears) -> None:
    letters = DeadLetters(ears.bus.js, "x_")
    (one,) = await buried(ears, 1)
    await letters.replay(one)

    async def back() -> bool:
        return [letter.sequence for letter in await listed(letters)] == [one.sequence + 1]

    await until(back, 20)
    (again,) = await listed(letters)
    assert (again.subject, again.consumer, again.trace_id) == (LIKE_CHANGED, "broken", TRACE)
    ears.mended = True
    await letters.replay(again)
    await until(lambda: ears.heard["broken"][1] == 1, 15)


async def test_of_a_stream_made_anew_a_letter_of_the_same_number_is_another(ears: Ears) -> None:
    """Buried within the server's window for duplicates, it is not taken for the one before the loss."""
    (first,) = await buried(ears, 1)
    await ears.bus.js.delete_stream("x_TWEETS")
    letters = DeadLetters(ears.bus.js, "x_")

    async def told() -> bool:
        with suppress(Unavailable):
            await ears.bus.publish(
                LIKE_CHANGED, TweetEvent(like_changed=LikeChanged(tweet_id=2)), msg_id="like:2"
            )
            return True
        return False

    await until(told, 20, "the stream made anew")

    async def both() -> bool:
        return len(await listed(letters)) == 2

    await until(both, 20, "the second burial")
    _, second = await listed(letters)
    assert first.stream_sequence == second.stream_sequence == 1


async def test_a_subject_of_newer_code_waits_for_it(ears: Ears) -> None:
    """Old and new code share a durable consumer while one replaces the other."""
    heard: list[int] = []

    async def handle(event: TweetEvent, meta: EventMeta) -> None:
        heard.append(meta.sequence)

    spec = ConsumerSpec("shared", TWEETS.name, (LIKE_CHANGED, TWEET_DELETED), backoff_s=(0.05,))
    old = Consumer(ears.bus, spec, {LIKE_CHANGED: (TweetEvent, handle)})
    new = Consumer(ears.bus, spec, {TWEET_DELETED: (TweetEvent, handle)})
    task = asyncio.create_task(old.run())
    ack = await ears.bus.publish(TWEET_DELETED, TweetEvent(), msg_id="deleted")

    async def tried() -> bool:
        info = await ears.bus.js.consumer_info("x_TWEETS", "shared")
        return bool(info.num_redelivered)

    async def there() -> bool:
        return any(c.name == "shared" for c in await ears.bus.js.consumers_info("x_TWEETS"))

    await until(there, 15)
    await until(tried, 15, "its coming again")
    assert heard == []
    tasks = [task, asyncio.create_task(new.run())]
    await until(lambda: heard == [ack.sequence], 20)
    await cancel_all(tasks)


async def test_the_command(ears: Ears, nats: NatsServer, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.root.mkdir()

    async def starling(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "stack.cli",
            "dlq",
            *arguments,
            env={**os.environ, "STARLING_RUN_DIR": str(run.root), "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate()
        return process.returncode or 0, out.decode(), error.decode()

    status, _, error = await starling("list")
    assert status == 1
    assert "The mesh does not run" in error

    # A process that stands for the fan-out worker: only its environment is looked at.
    worker = await asyncio.create_subprocess_exec(
        "sleep", "600", env={"NATS_URL": nats.url, "NATS_PREFIX": "x_"}
    )
    with ExitStack() as running:
        running.callback(worker.kill)
        running.enter_context(state.exclusive(run.supervisor_lock, "taken"))
        fanout = state.ProcessStatus("fanout", "", {}, once=False, state="ready", pid=worker.pid)
        state.write(run, state.SupervisorStatus(os.getpid(), phase="up", processes=[fanout]))
        assert (await starling("list"))[1] == "There are no dead letters.\n"
        one, two = await buried(ears, 1, 2)
        status, out, _ = await starling("list")
        assert status == 0
        row = out.splitlines()[1].split()
        assert row[:3] == [str(one.sequence), LIKE_CHANGED, "broken"]
        assert row[5] == "2"
        assert out.splitlines()[1].endswith(f"RuntimeError: this is broken  {TRACE}")
        status, out, _ = await starling("show", str(two.sequence))
        shown = json.loads(out)
        assert shown["event"] == {"like_changed": {"tweet_id": "2", "user_id": "7", "liked": True}}
        assert (shown["consumer"], shown["tries"]) == ("broken", 2)
        status, _, error = await starling("show", "99")
        assert status == 1
        assert "There is no dead letter 99" in error
        status, _, error = await starling("replay")
        assert status == 1
        assert "--all" in error
        ears.mended = True
        assert (await starling("replay", "--all"))[0] == 0
        await until(lambda: ears.heard["broken"] == {1: 1, 2: 1}, 20)
        assert (await starling("list"))[1] == "There are no dead letters.\n"
    await worker.wait()
