"""A post waits for the fan-out worker's word, but not for ever, and not again and again in vain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from starling.tweet.v1.tweet_events_pb2 import TweetEvent

from meshkit.background import cancel_all
from meshkit.config import MeshConfig
from meshkit.consumer import Consumer, EventMeta
from meshkit.events import REPLY_HEADER, ConsumerSpec, EventBus
from meshkit.identity import Caller
from meshkit.streams import TWEETS
from tests.conftest import until
from tests.integration.tweet_rig import Instance, running
from tweet_svc import fanout_word

WAIT_S = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tweet_svc(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[Instance]:
    async with running(mesh_config, counting=False, fanout_wait_ms=WAIT_S * 1000) as instance:
        yield instance


class Worker:
    """Does of the fan-out worker what changes wait for: handles each, and says so."""

    def __init__(self, bus: EventBus, name: str, takes_s: float = 0.05) -> None:
        self._bus = bus
        self._takes_s = takes_s
        self.pushed: set[int] = set()
        self.handled: list[str] = []
        spec = ConsumerSpec(name, TWEETS.name)
        routes = dict.fromkeys(TWEETS.subjects, (TweetEvent, self._push))
        self.consumer = Consumer(bus, spec, routes)

    async def _push(self, event: TweetEvent, meta: EventMeta) -> None:
        await asyncio.sleep(self._takes_s)
        self.pushed.add(event.posted.tweet.tweet_id)
        self.handled.append(event.WhichOneof("event") or "")
        if REPLY_HEADER in meta.headers:
            await self._bus.notify(meta.headers[REPLY_HEADER])


def in_vain() -> float:
    """Waits so far for a word that did not come."""
    value = REGISTRY.get_sample_value("starling_fanout_waits_total", {"outcome": "in_vain"})
    return value or 0.0


async def waited(instance: Instance, author: Caller, content: str) -> bool:
    """Posts; whether the post waited in vain."""
    before = in_vain()
    await instance.post(author, content)
    return in_vain() > before


async def test_a_post_answers_once_its_author_sees_it(tweet_svc: Instance) -> None:
    worker = Worker(tweet_svc.bus, "worker-a")
    running_worker = asyncio.create_task(worker.consumer.run())
    try:
        ada = Caller(1, "ada")
        await tweet_svc.post(ada, "warm up")
        for number in range(5):
            tweet_id = await tweet_svc.post(ada, f"seen {number}")
            assert tweet_id in worker.pushed
    finally:
        await cancel_all([running_worker])


async def test_who_changes_something_is_answered_once_they_see_it(tweet_svc: Instance) -> None:
    worker = Worker(tweet_svc.bus, "worker-c")
    running_worker = asyncio.create_task(worker.consumer.run())
    try:
        eve = Caller(5, "eve")
        tweet_id = await tweet_svc.post(eve, "to be liked")
        for change, event in (
            (tweet_svc.like, "like_changed"),
            (tweet_svc.unlike, "like_changed"),
            (tweet_svc.retweet, "retweet_changed"),
            (tweet_svc.unretweet, "retweet_changed"),
            (tweet_svc.delete, "deleted"),
        ):
            worker.handled.clear()
            await change(eve, tweet_id)
            assert worker.handled == [event]
    finally:
        await cancel_all([running_worker])


async def test_without_a_worker_only_few_posts_wait(
    tweet_svc: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_s = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead_s)
    monkeypatch.setattr(fanout_word, "time", clock)
    monkeypatch.setattr(fanout_word, "_PROBE_S", 3600.0)
    bob = Caller(2, "bob")
    outcomes = [await waited(tweet_svc, bob, f"unseen {n}") for n in range(6)]
    assert outcomes == [True, True, True, False, False, False]
    # One of many at once finds out whether the worker is back; the others are not kept.
    ahead_s += 3601
    before = in_vain()
    await asyncio.gather(*(tweet_svc.post(bob, f"probe {n}") for n in range(5)))
    assert in_vain() == before + 1
    worker = Worker(tweet_svc.bus, "worker-b", takes_s=0.0)
    running_worker = asyncio.create_task(worker.consumer.run())
    try:
        await until(lambda: len(worker.pushed) > 0, what="the worker's first tweet")
        ahead_s += 3601
        for number in range(6):
            tweet_id = await tweet_svc.post(bob, f"back again {number}")
            assert tweet_id in worker.pushed
        assert in_vain() == before + 1
    finally:
        await cancel_all([running_worker])
