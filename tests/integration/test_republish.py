"""JetStream lost altogether: what it would have told is told again from Cassandra, and counts come right."""

from __future__ import annotations

import time
from collections import Counter

from graph_svc.republish import Republishing as GraphRepublishing
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession
from meshkit.events import EventBus
from meshkit.streams import COUNTS, GRAPH, TWEETS
from tests.integration.graph_rig import graph_instance
from tests.integration.tweet_rig import STREAMS, running, users
from tweet_svc.republish import Republishing as TweetRepublishing


def hour_ms() -> tuple[int, int]:
    """From half an hour ago to half an hour ahead."""
    now_ms = int(time.time() * 1000)
    return now_ms - 1_800_000, now_ms + 1_800_000


async def lose(bus: EventBus, prefix: str, *streams: str) -> None:
    for stream in streams:
        await bus.js.delete_stream(prefix + stream)


async def messages(bus: EventBus, stream: str) -> int:
    return (await bus.js.stream_info(bus.prefix + stream)).state.messages


async def test_tweets_likes_retweets_and_deletions(
    mesh_config: MeshConfig, session: CqlSession, bus: EventBus
) -> None:
    ada, bob, cid, dot = users(4)
    async with running(mesh_config) as before:
        kept = await before.post(ada, "kept")
        for fan in (bob, cid, dot):
            await before.like(fan, kept)
        gone = await before.post(ada, "gone")
        await before.quiet()
        assert (await before.get(ada, kept)).likes_count == 3
    async with running(mesh_config, counting=False) as dark:
        # Answered, and in JetStream, and nobody has heard it yet.
        late = await dark.post(bob, "late")
        await dark.like(ada, late)
        await dark.unlike(bob, kept)
        await dark.retweet(cid, kept)
        await dark.delete(ada, gone)
        assert await dark.outbox_rows() == 0
        await lose(dark.bus, mesh_config.nats_prefix, TWEETS.name, COUNTS.name)

    told_on = await EventBus.open(mesh_config, STREAMS)
    republishing = TweetRepublishing(session, told_on)
    assert await republishing.changes(*hour_ms()) == 2 + 1 + 3 + 1
    assert await messages(told_on, TWEETS.name) == 7
    assert await republishing.changes(*hour_ms()) == 7
    assert await messages(told_on, TWEETS.name) == 7, "the same message ids"
    from_ms, _ = hour_ms()
    assert await republishing.changes(from_ms - 1000, from_ms) == 0
    await republishing.counts()
    await told_on.close()

    async with running(mesh_config) as after:
        kinds = Counter(event.WhichOneof("event") for event in await after.events())
        assert kinds == {"posted": 2, "retweet_changed": 1, "like_changed": 3, "deleted": 1}
        await after.quiet()
        shown = await after.get(bob, kept)
        assert (shown.likes_count, shown.retweets_count, shown.liked) == (2, 1, False)
        assert (await after.get(bob, late)).likes_count == 1
        assert [await after.tweets_count(author) for author in (ada, bob)] == [1, 1]
        counted = [event.counts_changed for event in await after.events(COUNTS)]
        assert (kept, 2) in {(each.tweet_id, each.likes_count) for each in counted}


async def test_follows(mesh_config: MeshConfig, session: CqlSession) -> None:
    async with graph_instance(mesh_config) as graph:
        ann, bob, cid = [await graph.add_user() for _ in range(3)]
        await graph.follow(ann, bob)
        await graph.counts_rest_at(bob, 1, 0)
        await graph.counts_rest_at(ann, 0, 1)
    async with graph_instance(mesh_config, counting=False) as graph:
        await graph.unfollow(ann, bob)
        await graph.follow(bob, cid)
        await graph.outbox.flush()
        await lose(graph.outbox.bus, mesh_config.nats_prefix, GRAPH.name, COUNTS.name)

    told_on = await EventBus.open(mesh_config, [GRAPH, COUNTS])
    republishing = GraphRepublishing(session, told_on, 50_000)
    assert await republishing.changes(*hour_ms()) == 1
    assert await republishing.changes(*hour_ms()) == 1
    assert await messages(told_on, GRAPH.name) == 1
    await republishing.counts()
    async with graph_instance(mesh_config) as graph:
        await graph.counts_rest_at(ann, 0, 0)
        await graph.counts_rest_at(cid, 1, 0)
        await graph.counts_rest_at(bob, 0, 1)
        assert await messages(told_on, GRAPH.name) == 1
    await told_on.close()
