"""One key, one tweet: at once, in two processes, after a crash at any step, and after a deletion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from meshkit import identity
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession
from meshkit.errors import FailedPrecondition, InvalidArgument, NotFound, StarlingError
from meshkit.events import EventBus
from meshkit.identity import Caller
from meshkit.outbox import Outbox
from tests.conftest import until
from tests.integration.tweet_rig import Instance, running, tweet_config
from tweet_svc.idempotency_store import Claim, IdempotencyStore
from tweet_svc.parts import Parts
from tweet_svc.posting import Post


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tweet_svc(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[Instance]:
    async with running(mesh_config, counting=False) as instance:
        yield instance


async def tweets_of(instance: Instance, author: Caller) -> list[int]:
    return [entry.tweet_id for entry in (await instance.activity(author))[0].activity]


async def test_twenty_at_once_are_one_tweet(tweet_svc: Instance) -> None:
    ada = Caller(1, "ada")
    ids = await asyncio.gather(*(tweet_svc.post(ada, "one of many", key="k-1") for _ in range(20)))
    assert len(set(ids)) == 1
    assert await tweets_of(tweet_svc, ada) == [ids[0]]
    posted = [e.posted.tweet.tweet_id for e in await tweet_svc.events() if e.HasField("posted")]
    assert posted.count(ids[0]) == 1


async def test_twenty_at_once_in_two_processes_are_one_tweet(
    tweet_svc: Instance, mesh_config: MeshConfig
) -> None:
    bob = Caller(2, "bob")
    async with running(mesh_config, counting=False) as other:
        ids = await asyncio.gather(
            *(each.post(bob, "hello", key="k-2") for _ in range(10) for each in (tweet_svc, other))
        )
    assert len(set(ids)) == 1
    assert await tweets_of(tweet_svc, bob) == [ids[0]]


async def test_a_key_is_one_users_and_one_requests(tweet_svc: Instance) -> None:
    ada, eve = Caller(3, "ada"), Caller(4, "eve")
    first = await tweet_svc.post(ada, "mine", key="shared", media=["a"])
    assert await tweet_svc.post(ada, " mine\n", key="shared", media=["a"]) == first
    assert await tweet_svc.post(eve, "mine", key="shared", media=["a"]) != first
    for content, media in (("other", ["a"]), ("mine", []), ("mine", ["b"])):
        with pytest.raises(InvalidArgument) as caught:
            await tweet_svc.post(ada, content, key="shared", media=media)
        assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"
        assert caught.value.violations[0].field == "Idempotency-Key"


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_bad_key_is_refused(tweet_svc: Instance, key: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await tweet_svc.post(Caller(5, "ada"), "bad key", key=key)
    assert caught.value.reason == "IDEMPOTENCY_KEY_INVALID"


async def test_a_deleted_tweets_key_still_names_it_and_brings_nothing_back(
    tweet_svc: Instance,
) -> None:
    ada = Caller(6, "ada")
    tweet_id = await tweet_svc.post(ada, "short life", key="gone")
    await tweet_svc.delete(ada, tweet_id)
    assert await tweet_svc.post(ada, "short life", key="gone") == tweet_id
    with pytest.raises(NotFound):
        await tweet_svc.get(ada, tweet_id)
    assert await tweets_of(tweet_svc, ada) == []
    # It is not posted anew under the key.
    second = await tweet_svc.post(ada, "another life")
    assert await tweet_svc.post(ada, "short life", key="gone") == tweet_id
    assert await tweets_of(tweet_svc, ada) == [second]


async def test_a_key_whose_tweet_was_refused_is_free(tweet_svc: Instance) -> None:
    ada = Caller(7, "ada")
    first = await tweet_svc.post(ada, "again")
    for _ in range(2):
        with pytest.raises(FailedPrecondition):
            await tweet_svc.post(ada, "again", key="refused")
    await tweet_svc.delete(ada, first)
    assert await tweet_svc.post(ada, "something else", key="refused") != first


async def test_a_claim_without_its_tweet_is_gone_on_with(
    tweet_svc: Instance, session: CqlSession
) -> None:
    ada, tweet_id = Caller(8, "ada"), tweet_svc.ids.next_id()
    wanted = Claim(tweet_id, Post(ada, "resumed").fingerprint)
    await IdempotencyStore(session).claim(ada.user_id, "crashed", wanted)
    assert await tweet_svc.post(ada, "resumed", key="crashed") == tweet_id
    assert await tweets_of(tweet_svc, ada) == [tweet_id]


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs in that process."""


class Mortal:
    """A session or bus whose process dies at its n-th operation: just before it, or with its answer lost."""

    def __init__(self, inner: Any, life: list[int], *, before: bool) -> None:
        self._inner = inner
        self._life = life
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("execute", "one", "batch", "execute_lwt", "publish"):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._life[0] -= 1
            last = self._life[0] == 0  # others may run beside it
            if last and self._before:
                raise Killed
            result = await found(*args, **kwargs)
            if last:
                raise Killed
            return result

        return call


async def dies_at(
    instance: Instance, mesh: MeshConfig, step: int, before: bool, author: Caller, key: str | None
) -> int | None:
    """Post in a process that is killed at its `step`-th operation; the id if it lived to the end."""
    life = [step]
    session: Any = Mortal(instance.session, life, before=before)
    bus: Any = Mortal(instance.bus, life, before=before)
    outbox = Outbox(session, bus, "tweet_outbox")
    parts = Parts.assemble(tweet_config(mesh), session, bus, outbox, instance.ids.next_id)
    try:
        tweet_id = await parts.posting.post(Post(author, "survivor"), key)
    except Killed:
        return None
    life[0] = 1_000
    await outbox.flush()
    return tweet_id


@pytest.mark.parametrize("before", [True, False])
async def test_killed_at_any_step_a_post_is_everywhere_or_nowhere(
    tweet_svc: Instance, mesh_config: MeshConfig, before: bool
) -> None:
    """And the retry under its key makes it one tweet."""
    crashed: dict[int, Caller] = {}
    alone: dict[int, Caller] = {}
    for step in range(1, 12):
        author = Caller(1000 + 100 * before + step, f"author_{step}")
        lonely = Caller(2000 + 100 * before + step, f"lonely_{step}")
        done = await dies_at(tweet_svc, mesh_config, step, before, author, "key")
        await dies_at(tweet_svc, mesh_config, step, before, lonely, None)
        again = await tweet_svc.post(author, "survivor", key="key")
        assert done in (None, again)
        assert await tweets_of(tweet_svc, author) == [again]
        assert (await tweet_svc.get(author, again)).content == "survivor"
        crashed[step], alone[step] = author, lonely
        if done is not None:
            break
    else:
        raise AssertionError("a post takes more steps than this test dies at")
    assert len(crashed) > 4

    async def told() -> bool:
        return await tweet_svc.outbox_rows() == 0

    async with running(mesh_config, counting=False, relaying=True):
        await until(told, 20, "relaying what was left")
    posted: dict[int, set[int]] = {}
    for event in await tweet_svc.events():
        if event.HasField("posted"):
            tweet = event.posted.tweet
            posted.setdefault(tweet.user_id, set()).add(tweet.tweet_id)
    for author in (*crashed.values(), *alone.values()):
        there = set(await tweets_of(tweet_svc, author))
        assert there == posted.get(author.user_id, set())
        assert there == set(await tweet_svc.batch(sorted(there)))
    for author in crashed.values():
        assert len(posted[author.user_id]) == 1


async def test_a_call_cut_off_does_not_block_its_key(tweet_svc: Instance) -> None:
    ada = Caller(9, "ada")
    identity.set_caller(ada)
    cut = asyncio.create_task(tweet_svc.post(ada, "cut off", key="cut"))
    await asyncio.sleep(0.005)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    tweet_id = await tweet_svc.post(ada, "cut off", key="cut")
    assert await tweets_of(tweet_svc, ada) == [tweet_id]


async def test_without_nats_posts_are_accepted_and_told_later(
    tweet_svc: Instance, mesh_config: MeshConfig
) -> None:
    ada = Caller(10, "ada")
    async with running(
        mesh_config, counting=False, nats_url="nats://127.0.0.1:1", nats_wait_s=0.1
    ) as cut_off:
        await tweet_svc.outbox.flush()
        before = asyncio.get_running_loop().time()
        tweet_id = await cut_off.post(ada, "nobody hears me")
        await cut_off.like(ada, tweet_id)
        assert asyncio.get_running_loop().time() - before < 1.0
        assert await cut_off.outbox_rows() == 2

    async def told() -> bool:
        return await tweet_svc.outbox_rows() == 0

    async with running(mesh_config, counting=False, relaying=True):
        await until(told, 20, "relaying")
    events = await tweet_svc.events()
    assert any(event.posted.tweet.tweet_id == tweet_id for event in events)
    assert any(event.like_changed.tweet_id == tweet_id for event in events)


async def test_the_relay_restores_what_a_crash_still_owes(
    tweet_svc: Instance, mesh_config: MeshConfig, session: CqlSession
) -> None:
    """Of a process that died the outbox row may be all that there is."""
    ada = Caller(11, "ada")
    async with running(
        mesh_config, counting=False, nats_url="nats://127.0.0.1:1", nats_wait_s=0.1
    ) as cut_off:
        tweet_id = await cut_off.post(ada, "half there")
    await session.ddl("TRUNCATE tweet")
    await session.ddl("TRUNCATE activity")
    assert await tweets_of(tweet_svc, ada) == []

    async def told() -> bool:
        return await tweet_svc.outbox_rows() == 0

    async with running(mesh_config, counting=False, relaying=True):
        await until(told, 20, "relaying")
    assert await tweets_of(tweet_svc, ada) == [tweet_id]
    assert (await tweet_svc.get(ada, tweet_id)).content == "half there"


async def test_the_store_away_is_unavailable_at_once(mesh_config: MeshConfig) -> None:
    config = tweet_config(mesh_config, cassandra_contact_points="127.0.0.1:1")
    session = await CqlSession.open(config, wait_s=0.1)
    bus = await EventBus.open(config, ())
    parts = Parts.assemble(config, session, bus, Outbox(session, bus, "tweet_outbox"), lambda: 1)
    try:
        with pytest.raises(StarlingError) as caught:
            await asyncio.wait_for(parts.posting.post(Post(Caller(1, "ada"), "x"), None), 2.0)
        assert caught.value.reason == "STORE_UNAVAILABLE"
    finally:
        await bus.close()
        await session.close()
