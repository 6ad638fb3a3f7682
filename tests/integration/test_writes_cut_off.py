"""A process that dies between a change's outbox row and its rows: the relay writes them, and tells of them.

And what comes before the outbox row leaves nothing at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from starling.tweet.v1.tweet_events_pb2 import TweetDeleted, TweetEvent

from graph_svc.edge_store import EdgeStore
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession
from meshkit.errors import Unavailable
from meshkit.events import EventBus
from meshkit.identity import Caller
from meshkit.outbox import Outbox
from meshkit.write_clock import WriteClock
from tests.conftest import until
from tests.integration.graph_rig import graph_instance, ids
from tests.integration.tweet_rig import Instance, running, tweet_config
from tweet_svc.parts import Parts
from tweet_svc.posting import Post

ADA, BOB = Caller(1, "ada"), Caller(2, "bob")


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs in that process."""


class CutOff:
    """A session whose process dies when it is about to write the rows, or whose store takes no outbox row."""

    def __init__(self, inner: CqlSession, *, at: str) -> None:
        self._inner = inner
        self._at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def batch(self, *args: Any, **kwargs: Any) -> None:
        if self._at == "rows":
            raise Killed
        await self._inner.batch(*args, **kwargs)

    async def execute(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        if self._at == "outbox" and statement.name.endswith("outbox.insert"):
            raise Unavailable("no answer")
        return await self._inner.execute(statement, *args, **kwargs)


class Dying:
    """A tweet_svc over such a session."""

    def __init__(self, instance: Instance, mesh: MeshConfig, *, at: str) -> None:
        session: Any = CutOff(instance.session, at=at)
        outbox = Outbox(session, instance.bus, "tweet_outbox")
        ids, clock = instance.ids.next_id, WriteClock()
        parts = Parts.assemble(tweet_config(mesh), session, instance.bus, outbox, ids, clock)
        self.posting, self.changes = parts.posting, parts.changes
        self.engagement = parts.engagement

    async def delete(self, tweet_id: int, at_us: int) -> None:
        deleted = TweetDeleted(tweet_id=tweet_id, author_id=ADA.user_id, changed_us=at_us)
        await self.changes.write(TweetEvent(deleted=deleted))


@pytest_asyncio.fixture
async def tweet_svc(mesh_config: MeshConfig, session: CqlSession) -> AsyncIterator[Instance]:
    async with running(mesh_config, counting=False) as instance:
        for table in ("tweet_outbox_progress", "tweet", "activity"):
            await session.ddl(f"TRUNCATE {table}")
        yield instance


@pytest.mark.parametrize("at", ["rows", "outbox"])
async def test_every_change_of_tweets(
    tweet_svc: Instance, mesh_config: MeshConfig, at: str
) -> None:
    dying = Dying(tweet_svc, mesh_config, at=at)
    gone, liked, unliked, shared, unshared = tweets = [
        await tweet_svc.post(ADA, f"tweet {n} until {at}") for n in range(5)
    ]
    await tweet_svc.like(BOB, unliked)
    await tweet_svc.retweet(BOB, unshared)
    await tweet_svc.outbox.flush()
    changes: list[Callable[[], Awaitable[Any]]] = [
        lambda: dying.posting.post(Post(ADA, f"last words at {at}"), None),
        lambda: dying.delete(gone, WriteClock().next_us()),
        lambda: dying.engagement.like(BOB, liked),
        lambda: dying.engagement.unlike(BOB, unliked),
        lambda: dying.engagement.retweet(BOB, shared),
        lambda: dying.engagement.unretweet(BOB, unshared),
    ]

    async def seen() -> tuple[set[int], set[int], set[int]]:
        """What stands of Ada's tweets, and of Bob's likes and retweets."""
        by_ada = [entry.tweet_id for entry in (await tweet_svc.activity(ADA))[0].activity]
        flags = await tweet_svc.flags(BOB, tweets)
        return (
            set(await tweet_svc.batch(by_ada)),
            {flag.tweet_id for flag in flags if flag.liked},
            {flag.tweet_id for flag in flags if flag.retweeted},
        )

    for change in changes:
        with pytest.raises(Killed if at == "rows" else Unavailable):
            await change()
    assert await seen() == (set(tweets), {unliked}, {unshared})
    assert await tweet_svc.outbox_rows() == (len(changes) if at == "rows" else 0)
    if at == "outbox":
        return

    async def told() -> bool:
        return await tweet_svc.outbox_rows() == 0

    async with running(mesh_config, counting=False, relaying=True):
        await until(told, 20, "relaying what was left")
    (last,) = [
        event.posted.tweet.tweet_id
        for event in await tweet_svc.events()
        if event.posted.tweet.content == "last words at rows"
    ]
    assert await seen() == ({*tweets, last} - {gone}, {liked}, {shared})


async def test_a_follow_and_an_unfollow(mesh_config: MeshConfig, bus: EventBus) -> None:
    async with graph_instance(mesh_config) as graph:
        ann, bob, cid = [await graph.add_user() for _ in range(3)]
        await graph.follow(ann, cid)
        session: Any = CutOff(graph.edges._session, at="rows")
        edges = EdgeStore(session, Outbox(session, bus, "graph_outbox"), WriteClock())
        with pytest.raises(Killed):
            await edges.follow(ann.user_id, {bob.user_id: 0})
        with pytest.raises(Killed):
            await edges.unfollow(ann.user_id, cid.user_id)
        assert ids(await graph.following(ann)) == [cid.user_id]
        await graph.counts_rest_at(bob, 1, 0)
        await graph.counts_rest_at(cid, 0, 0)
        assert ids(await graph.following(ann)) == [bob.user_id]
