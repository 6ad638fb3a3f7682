"""Writes that took effect and whose answers were lost: each is resolved by reading, or repeated identically.

A proxy before Cassandra swallows the answer to the write (after its connection is warm) and then passes
everything on again: what the driver reports as a timeout has happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest_asyncio

from gateway.account_store import AccountStore
from graph_svc.user_store import UserStore
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement
from meshkit.events import EventBus
from meshkit.identity import Caller
from meshkit.outbox import Outbox
from meshkit.relay import Relay
from meshkit.snowflake import first_id_at, wall_clock_ms
from meshkit.write_clock import WriteClock
from tests.conftest import until
from tests.integration.proxy import Proxy
from tests.integration.tweet_rig import STREAMS, tweet_config
from tweet_svc.idempotency_store import Claim, IdempotencyStore
from tweet_svc.parts import Parts
from tweet_svc.posting import Post

T = TypeVar("T")

_OUTBOX = Statement("test.outbox", "SELECT msg_id FROM tweet_outbox", idempotent=True)


@pytest_asyncio.fixture
async def proxy(mesh_config: MeshConfig) -> AsyncIterator[Proxy]:
    started = Proxy(mesh_config.cassandra_contact_points)
    await started.start()
    yield started
    await started.stop()


@pytest_asyncio.fixture
async def behind(mesh_config: MeshConfig, proxy: Proxy) -> AsyncIterator[CqlSession]:
    """A session through the proxy, that gives a statement a second and a half."""
    config = mesh_config.model_copy(
        update={"cassandra_contact_points": proxy.address, "cassandra_timeout_s": 1.5}
    )
    opened = await CqlSession.open(config)
    yield opened
    await opened.close()


async def unanswered(proxy: Proxy, call: Awaitable[T]) -> T:
    """What comes of a call whose first answer is lost."""
    held = proxy.held
    proxy.hold_answers = True
    task = asyncio.ensure_future(call)
    await until(lambda: proxy.held > held, 15, "the lost answer")
    proxy.hold_answers = False
    return await asyncio.wait_for(task, 30)


async def test_a_username(behind: CqlSession, proxy: Proxy) -> None:
    users = UserStore(behind, WriteClock())
    first, second = (first_id_at(wall_clock_ms()) + number for number in (1, 2))
    await users.create(first, "warm_user", "Warm", "")
    assert await users.get(second) is None
    # The first statement is the read of the id: its loss is a plain timeout, and the driver's business.
    claim = users._claim(second, "lost_answer", "Lost", "bio")
    assert await unanswered(proxy, claim) == (second, "Lost", "bio")
    created = await users.create(second, "lost_answer", "Lost", "bio")
    assert (created.user_id, created.display_name) == (second, "Lost")
    # Somebody else's claim is seen to be that also when the answer that says so is lost.
    assert (await unanswered(proxy, users._claim(first, "lost_answer", "X", "")))[0] == second


async def test_an_idempotency_key(behind: CqlSession, proxy: Proxy) -> None:
    claims = IdempotencyStore(behind)
    await claims.claim(1, "warm", Claim(1, b"f"))
    mine = Claim(77, b"mine")
    assert await unanswered(proxy, claims.claim(1, "key", mine)) == mine
    assert await unanswered(proxy, claims.claim(1, "key", Claim(78, b"other"))) == mine


async def test_a_refresh_token(behind: CqlSession, proxy: Proxy) -> None:
    accounts = AccountStore(behind, 600)
    await accounts.start_family(b"warm", 1, "ada", b"0")
    warm = await accounts.family(b"warm")
    assert warm is not None
    assert await accounts.rotate(warm, b"1")
    await accounts.revoke(b"warm")

    await unanswered(proxy, accounts.start_family(b"family", 1, "ada", b"first"))
    family = await accounts.family(b"family")
    assert family is not None
    assert family.token_hash == b"first"
    assert await unanswered(proxy, accounts.rotate(family, b"second"))
    rotated = await accounts.family(b"family")
    assert rotated is not None
    assert (rotated.token_hash, rotated.generation) == (b"second", 1)
    assert not await unanswered(proxy, accounts.rotate(family, b"third")), "it was used before"
    await unanswered(proxy, accounts.revoke(b"family"))
    revoked = await accounts.family(b"family")
    assert revoked is not None
    assert revoked.revoked


async def test_a_post(behind: CqlSession, proxy: Proxy, mesh_config: MeshConfig) -> None:
    """The batch is written again, identically: one tweet, one event."""
    bus = await EventBus.open(mesh_config, STREAMS)
    config = tweet_config(mesh_config)
    ids = iter(range(first_id_at(wall_clock_ms()), 1 << 62))
    outbox = Outbox(behind, bus, "tweet_outbox")
    parts = Parts.assemble(config, behind, bus, outbox, lambda: next(ids))
    ada = Caller(9, "ada")
    await parts.posting.post(Post(ada, "warm"), "warm")  # now every statement is prepared
    since_ms = wall_clock_ms() - 60_000
    tweet_id = await unanswered(proxy, parts.posting.post(Post(ada, "answer lost"), "key"))
    await outbox.flush()
    texts = await parts.activity.texts_since(9, since_ms, wall_clock_ms())
    assert len(texts) == 2
    assert tweet_id in {each for each, _ in texts}
    assert await behind.execute(_OUTBOX) == []
    await bus.close()


async def test_a_relays_lease(behind: CqlSession, proxy: Proxy, mesh_config: MeshConfig) -> None:
    """Whether it was taken is not guessed: the next try finds it to be one's own."""
    bus = await EventBus.open(mesh_config, STREAMS)
    outbox = Outbox(behind, bus, "tweet_outbox")
    relay = Relay(outbox, "a")
    await relay._lease()
    assert relay.leading
    other = Relay(outbox, "b")
    await unanswered(proxy, other._lease())
    assert not other.leading
    again = Relay(outbox, "a")
    await unanswered(proxy, again._lease())
    await again._lease()
    assert again.leading
    await bus.close()
