"""What Redis lost and did not say so: writes that a promoted replica, or an old snapshot, never had.

Timelines are warm; then replication is cut, and tweets, retweets, likes, counts, deletions and follows go on
being handled: acknowledged by servers that then die. What is left in Redis is a past that looks whole. No
feed may show it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from starling.graph.v1.graph_events_pb2 import FollowChanged, GraphEvent
from starling.tweet.v1.tweet_events_pb2 import TweetCountsChanged, TweetDeleted, TweetEvent

from meshkit.redis import Redis, RedisUnavailable
from stack.ports import free_ports
from tests.conftest import until
from tests.integration.timeline_rig import LATE, USERS, Mesh, connected
from tests.integration.timeline_walk import Walk
from tests.integration.valkey_cluster import WITHIN_S, Node, ValkeyCluster
from timeline_svc.buckets import tweet_key

STEPS = 120
LIKES = 3


async def warm(mesh: Mesh, seed: int) -> Walk:
    """Everybody's timeline is cached, and whole."""
    walk = Walk(mesh, seed)
    for user in USERS:
        mesh.world.follows[user] = {other for other in USERS if (user + other) % 3}
        mesh.world.follows[user].discard(user)
    for _ in range(STEPS):
        await walk.step()
    await walk.quiet()
    await walk.check()
    await walk.check()
    return walk


async def go_on(walk: Walk) -> None:
    """What is going to be lost: at least a deletion, an unfollow and new counts of every tweet."""
    mesh, world = walk.mesh, walk.mesh.world
    for user in USERS:
        gone = max(tweet.tweet_id for tweet in world.tweets.values())
        author = world.tweets.pop(gone).user_id
        mesh.events.append(TweetEvent(deleted=TweetDeleted(tweet_id=gone, author_id=author)))
        other = min(world.follows[user], default=None)
        if other is not None:
            world.follows[user].discard(other)
            change = FollowChanged(follower_id=user, followee_id=other)
            mesh.events.append(GraphEvent(follow_changed=change))
    await walk.quiet()
    await walk.check()
    for _ in range(STEPS):
        await walk.step(flushes=False)
    await walk.quiet()
    await walk.check()
    for tweet in world.tweets.values():
        tweet.likes_count = LIKES
        counts = TweetCountsChanged(
            tweet_id=tweet.tweet_id, likes_count=LIKES, as_of_us=1000 * walk.now_ms * 1000
        )
        await mesh.fanout.counts_changed(TweetEvent(counts_changed=counts), LATE)
    await check(walk)


async def check(walk: Walk) -> None:
    await walk.check()
    for user in USERS:
        assert {t.likes_count for t in await walk.mesh.read(user, 20)} <= {LIKES}, user


async def serves(redis: Redis, walk: Walk) -> bool:
    """Whether every key can be had that the walk has to do with."""
    keys = [walk.mesh.cache.key(user) for user in USERS]
    keys += [tweet_key(walk.mesh.prefix, tweet_id) for tweet_id in walk.mesh.world.tweets]
    try:
        await redis.pipeline([("EXISTS", key) for key in keys])
    except RedisUnavailable:
        return False
    return True


async def test_a_failover_that_lost_writes_leaves_no_wrong_feed(cluster: ValkeyCluster) -> None:
    async with connected(cluster.url) as redis:
        # Some are pushed, and some merged.
        mesh = Mesh(redis, "lost:", entries=6, celebrity_followers=4, flush=cluster.flush)
        walk = await warm(mesh, seed=7)
        primaries = await cluster.primaries()
        for primary in primaries:
            await primary.cut_replication()
        await go_on(walk)
        for primary in primaries:  # one after the other: the rest have to agree on each promotion
            promotion = asyncio.create_task(cluster.failover(primary))
            await check(walk)  # from the store, as far as need be
            await promotion
            await until(lambda: serves(redis, walk), WITHIN_S, "the promoted replica")
            await check(walk)
        for _ in range(STEPS):
            await walk.step(flushes=False)
        await walk.quiet()
        await walk.check()


async def test_a_server_that_came_back_with_an_old_snapshot_shows_none_of_it(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    server = Node(port, tmp_path / "valkey")
    server.start()
    try:
        await until(server.answers, WITHIN_S, "the server")
        async with connected(f"redis://127.0.0.1:{port}") as redis:
            mesh = Mesh(redis, "", entries=6, celebrity_followers=1_000_000)
            walk = await warm(mesh, seed=8)
            await server.say("SAVE")
            await go_on(walk)
            server.kill()
            await check(walk)
            server.start()
            await until(lambda: serves(redis, walk), WITHIN_S, "the server")
            assert await server.say("DBSIZE") > len(USERS), "its snapshot is there"
            await check(walk)
    finally:
        server.kill()
