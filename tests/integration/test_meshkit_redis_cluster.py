"""The Redis client on a real cluster: routing, moved and moving slots, failovers, and all of it away."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshkit.redis import Redis, RedisReplyError, RedisUnavailable, Script
from meshkit.redis_cluster import key_slot
from tests.conftest import until
from tests.integration.valkey_cluster import WITHIN_S, Node, ValkeyCluster

TIMEOUT_S = 2.0
KEYS = [f"key:{{{number}}}" for number in range(60)]
WRITE = Script("write", "return redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2])", lineage=True)
COUNT = Script("count", "return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest_asyncio.fixture(loop_scope="session")
async def redis(cluster: ValkeyCluster) -> AsyncIterator[Redis]:
    client = Redis(cluster.url, timeout_s=TIMEOUT_S)
    await client.connect()
    yield client
    await client.close()


async def refused(node: Node, reason: bytes) -> int:
    """How often a node answered with such an error."""
    text: bytes = await node.say("INFO", "errorstats")
    for line in text.splitlines():
        if line.startswith(b"errorstat_%s:" % reason):
            return int(line.partition(b"count=")[2])
    return 0


async def works(redis: Redis, key: str) -> bool:
    try:
        await redis.call("GET", key)
    except RedisUnavailable:
        return False
    return True


async def test_a_key_lies_where_the_cluster_says(cluster: ValkeyCluster) -> None:
    for key in ("a", "timeline:{123}", "{a}{b}", "{}a", "a{}{b}", "a{b", "{ü}:state", "", "}{x}"):
        assert key_slot(key) == await cluster.nodes[0].say("CLUSTER", "KEYSLOT", key), key


async def test_keys_of_all_servers_in_one_call(cluster: ValkeyCluster, redis: Redis) -> None:
    before = [await refused(node, b"MOVED") for node in cluster.nodes]
    replies = await redis.eval_each(WRITE, [([key], [n]) for n, key in enumerate(KEYS)])
    assert replies == [b"OK"] * len(KEYS)
    assert await redis.mget_current([*KEYS, "none"]) == [
        *[str(n).encode() for n in range(len(KEYS))],
        None,
    ]
    commands = [("GET", key) for key in KEYS]
    marked = await redis.pipeline(commands)
    assert len({value[:8] for value in marked}) == 3, "each server has a lineage of its own"
    assert await redis.eval_each(COUNT, [([f"n{key}"], [n]) for n, key in enumerate(KEYS)]) == [
        *range(len(KEYS))
    ]
    with pytest.raises(RedisReplyError, match=r"not an integer"):
        await redis.eval(COUNT, [KEYS[0]], ["x"])
    assert [await refused(node, b"MOVED") for node in cluster.nodes] == before, "routed at once"
    same = redis.together(["a{1}", "b{1}", "c{2}", "d{1}"])
    assert same == [[0, 1, 3], [2]]


async def test_a_slot_that_moved_is_followed(cluster: ValkeyCluster, redis: Redis) -> None:
    key = "moved"
    source, target = await apart(cluster, key)
    slot = key_slot(key)
    target_id = await target.say("CLUSTER", "MYID")
    for node in (target, source, *[n for n in cluster.nodes if n not in (source, target)]):
        if await node.info("role") == b"master":
            await node.say("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    assert await redis.call("SET", key, "here") == b"OK"
    assert await target.say("GET", key) == b"here"

    async def learnt() -> bool:
        before = await refused(source, b"MOVED")
        assert await redis.call("GET", key) == b"here"
        return await refused(source, b"MOVED") == before

    await until(learnt, WITHIN_S, "a map with the slot's new owner")


async def test_a_slot_that_is_moving_is_served(cluster: ValkeyCluster, redis: Redis) -> None:
    keys = ["{moving}:stays", "{moving}:goes", "{moving}:new"]
    source, target = await apart(cluster, keys[0])
    slot = key_slot(keys[0])
    await redis.pipeline([("SET", key, "old") for key in keys[:2]])
    ids = [await node.say("CLUSTER", "MYID") for node in (source, target)]
    await target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    await source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    await source.say("MIGRATE", "127.0.0.1", target.port, keys[1], 0, 1000)

    assert [await redis.call("GET", key) for key in keys] == [b"old", b"old", None]
    assert await redis.eval(WRITE, [keys[2]], ["asked"]) == b"OK", "and the script is told there"
    assert (await redis.call("GET", keys[2]))[8:] == b"asked"
    started = time.monotonic()
    with pytest.raises(RedisUnavailable, match="TRYAGAIN"):
        await redis.call("MGET", *keys)
    assert time.monotonic() - started < WITHIN_S

    await source.say("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 1000)
    for node in (target, source):
        await node.say("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
    assert (await redis.call("MGET", *keys))[:2] == [b"old", b"old"]


async def apart(cluster: ValkeyCluster, key: str) -> tuple[Node, Node]:
    """The server of a key, and another."""
    source = await cluster.owner(key)
    return source, next(node for node in await cluster.primaries() if node is not source)


async def test_a_dead_primary_is_replaced(cluster: ValkeyCluster, redis: Redis) -> None:
    await redis.eval_each(WRITE, [([key], ["before"]) for key in KEYS])
    dead = await cluster.owner(KEYS[0])
    lost = [key for key in KEYS if await cluster.owner(key) is dead]
    replica = await cluster.replica_of(dead)
    # What is written is also on the replica, and yet of another lineage once it is promoted.
    await until(lambda: has(replica, lost[-1]), WITHIN_S, "replication")
    replica.signal(signal.SIGSTOP)  # until we have seen how it is without it
    dead.kill()
    with pytest.raises(RedisUnavailable):
        await redis.call("GET", lost[0])
    assert redis.available
    values = await redis.mget_current(KEYS)
    assert values == [None if key in lost else b"before" for key in KEYS], "the others serve on"
    replies = await redis.eval_each(COUNT, [([f"n{key}"], [1]) for key in KEYS])
    assert [isinstance(reply, RedisUnavailable) for reply in replies] == [
        key in lost for key in KEYS
    ]

    replica.signal(signal.SIGCONT)
    await until(lambda: works(redis, lost[0]), WITHIN_S, "the promoted replica")
    assert await redis.call("GET", lost[0]) is not None
    assert await redis.mget_current(lost) == [None] * len(lost)
    assert await redis.eval_each(WRITE, [([key], ["after"]) for key in lost]) == [b"OK"] * len(lost)
    assert await redis.mget_current(lost) == [b"after"] * len(lost)


async def has(node: Node, key: str) -> bool:
    """Whether a replica has a key."""
    text: bytes = await node.say("CLUSTER", "GETKEYSINSLOT", key_slot(key), 10)
    return key.encode() in text


async def test_a_stopped_primary_holds_nobody_for_long(
    cluster: ValkeyCluster, redis: Redis
) -> None:
    stopped = await cluster.owner(KEYS[0])
    others = [key for key in KEYS if await cluster.owner(key) is not stopped]
    replica = await cluster.replica_of(stopped)
    replica.signal(signal.SIGSTOP)  # until we have seen how it is without it
    stopped.signal(signal.SIGSTOP)
    try:
        with pytest.raises(RedisUnavailable):
            await redis.call("GET", KEYS[0])
        started = time.monotonic()
        with pytest.raises(RedisUnavailable):
            await redis.call("GET", KEYS[0])
        assert time.monotonic() - started < TIMEOUT_S, "its breaker is open"
        await redis.call("SET", others[0], "1")
        replica.signal(signal.SIGCONT)
        await until(lambda: works(redis, KEYS[0]), WITHIN_S, "the promoted replica")
        await redis.call("SET", KEYS[0], "kept")
    finally:
        stopped.signal(signal.SIGCONT)

    async def demoted() -> bool:
        return await stopped.info("role") == b"slave"

    await until(demoted, WITHIN_S, "the old primary's demotion")
    assert await redis.call("GET", KEYS[0]) == b"kept"
    assert await cluster.owner(KEYS[0]) is replica


async def test_all_of_it_away_and_back(cluster: ValkeyCluster, redis: Redis) -> None:
    for node in cluster.nodes:
        node.kill()

    async def nothing() -> bool:
        return not redis.available

    await until(nothing, WITHIN_S, "every connection's end")
    started = time.monotonic()
    for _ in range(20):
        with pytest.raises(RedisUnavailable):
            await redis.call("GET", "a")
        with pytest.raises(RedisUnavailable):
            await redis.mget_current(KEYS)
    assert time.monotonic() - started < WITHIN_S
    assert all(
        isinstance(r, RedisUnavailable) for r in await redis.eval_each(COUNT, [(["a"], [1])])
    )
    early = Redis(cluster.url, timeout_s=TIMEOUT_S)
    await early.connect()
    assert not early.available, "a client may come before its cluster"
    await cluster.heal()
    for client in (redis, early):
        for key in KEYS:
            await until(lambda c=client, k=key: works(c, k), WITHIN_S, key)  # type: ignore[misc]
    await early.close()


def test_the_address_says_which_kind_it_is() -> None:
    assert Redis("redis+cluster://a:1,b:2").clustered
    assert not Redis("redis://a:1").clustered
    for wrong in ("a:1", "http://a:1", "redis://user:secret@a:1"):
        with pytest.raises(ValueError, match="REDIS_URL"):
            Redis(wrong)
