"""Follows by two processes at once, cut short or half applied: lists, counts and events still agree."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starling.graph.v1.graph_events_pb2 import GraphEvent
from starling.graph.v1.user_pb2 import User

from graph_svc.edge_store import Edge
from meshkit.config import MeshConfig
from meshkit.consumer import Consumer, EventMeta
from meshkit.cql import CqlSession
from meshkit.events import ConsumerSpec, EventBus
from meshkit.streams import FOLLOW_CHANGED, GRAPH
from tests.conftest import until
from tests.integration.graph_rig import Instance, graph_instance, ids


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def instances(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[list[Instance]]:
    """Two processes' worth of graph_svc: they share nothing but the stores."""
    async with (
        graph_instance(mesh_config, followers_a_shard=4) as first,
        graph_instance(mesh_config, followers_a_shard=4) as second,
    ):
        yield [first, second]


@pytest.fixture
def graph(instances: list[Instance]) -> Instance:
    return instances[0]


@pytest.mark.parametrize("seed", range(3))
async def test_a_walk_of_follows_equals_the_model(instances: list[Instance], seed: int) -> None:
    """Rounds of follows and unfollows, many done by both processes at the same moment."""
    chance = random.Random(seed)
    users = [await instances[0].add_user() for _ in range(6)]
    # (follower, followee) -> the round in which the follow that stands was made
    model: dict[tuple[int, int], int] = {}

    for round_ in range(25):
        steps: dict[tuple[int, int], bool] = {}
        for _ in range(chance.randint(1, 6)):
            pair = (chance.randrange(6), chance.randrange(6))
            if pair[0] != pair[1]:
                steps.setdefault(pair, chance.random() < 0.6)
        calls = []
        for (follower, followee), follow in steps.items():
            by = instances if chance.random() < 0.6 else [chance.choice(instances)]
            for instance in by:
                act = instance.follow if follow else instance.unfollow
                calls.append(act(users[follower], users[followee]))
        chance.shuffle(calls)
        await asyncio.gather(*calls)
        for pair, follow in steps.items():
            if follow:
                model.setdefault(pair, round_)
            else:
                model.pop(pair, None)
            # Doubles are settled by the events of their follows, before the next round meets them.
        await _settled(instances, users, model)

    for n, user in enumerate(users):
        followers = {a: at for (a, b), at in model.items() if b == n}
        following = {b: at for (a, b), at in model.items() if a == n}
        await instances[0].counts_rest_at(user, len(followers), len(following))
        for instance in instances:
            for listed, expected in (
                (await instance.followers(user, 2), followers),
                (await instance.following(user, 2), following),
            ):
                numbers = [ids(users).index(user_id) for user_id in ids(listed)]
                assert Tally(numbers) == Tally(list(expected))
                rounds = [expected[number] for number in numbers]
                assert rounds == sorted(rounds, reverse=True)


async def _settled(
    instances: list[Instance], users: list[User], model: dict[tuple[int, int], int]
) -> None:
    async def equal() -> bool:
        for n, user in enumerate(users):
            following = sorted(ids(await instances[0].following(user)))
            if following != sorted(users[b].user_id for a, b in model if a == n):
                return False
        return True

    await until(equal, what="the model's edges")


async def test_after_any_race_the_tables_agree(instances: list[Instance]) -> None:
    """Follow and unfollow of the same pairs, all at once, through both processes."""
    chance = random.Random(5)
    users = [await instances[0].add_user() for _ in range(4)]
    for _ in range(6):
        calls = []
        for _ in range(40):
            follower, followee = chance.sample(users, 2)
            instance = chance.choice(instances)
            act = chance.choice([instance.follow, instance.unfollow])
            calls.append(act(follower, followee))
        await asyncio.gather(*calls)

    async def agree() -> bool:
        followers = {user.user_id: ids(await instances[0].followers(user)) for user in users}
        following = {user.user_id: ids(await instances[0].following(user)) for user in users}
        edges = Tally((a, b) for b, listed in followers.items() for a in listed)
        by_follower = Tally((a, b) for a, listed in following.items() for b in listed)
        truth: Tally[tuple[int, int]] = Tally()
        for user in users:
            for page in await instances[0].pages_of_followees(user, 100):
                truth.update((user.user_id, b) for b in page)
        now = [await instances[1].user(user) for user in users]
        return edges == by_follower == truth and all(
            user.followers_count == len(followers[user.user_id])
            and user.following_count == len(following[user.user_id])
            and max(edges.values(), default=1) == 1
            for user in now
        )

    await until(agree, what="agreement of lists, truth and counts")


async def test_each_change_is_told_with_its_place_and_counts_follow(
    graph: Instance, mesh_config: MeshConfig
) -> None:
    ann, bob = await graph.add_user(), await graph.add_user()
    told: list[GraphEvent] = []

    async def hear(event: GraphEvent, meta: EventMeta) -> None:
        if event.follow_changed.follower_id == ann.user_id:
            told.append(event)

    bus = await EventBus.open(mesh_config, [GRAPH])
    consumer = Consumer(
        bus,
        ConsumerSpec("test-ear", GRAPH.name, GRAPH.subjects),
        {FOLLOW_CHANGED: (GraphEvent, hear)},
    )
    listening = asyncio.create_task(consumer.run())
    await graph.follow(ann, bob)
    await graph.follow(ann, bob)
    await graph.unfollow(ann, bob)
    await graph.unfollow(ann, bob)
    await graph.counts_rest_at(bob, 0, 0)

    await until(lambda: len(told) >= 2, 15.0)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await bus.close()
    newest = max(told, key=lambda event: event.follow_changed.changed_us).follow_changed
    oldest = min(told, key=lambda event: event.follow_changed.changed_us).follow_changed
    assert (oldest.following, newest.following) == (True, False)
    assert oldest.followed_us == newest.followed_us == oldest.changed_us
    assert newest.followee_id == bob.user_id


async def test_counts_are_exact_though_a_clock_was_ahead(graph: Instance) -> None:
    """A count stored under a fast clock's time does not outlive the one that saw more."""
    ann, bob = await graph.add_user(), await graph.add_user()
    ahead_us = time.time_ns() // 1000 + 3_600_000_000
    await graph.users.set_total(bob.user_id, "followers", 0, 7, ahead_us)
    await graph.users.set_total(ann.user_id, "following", 0, 7, ahead_us)
    await graph.follow(ann, bob)
    await graph.counts_rest_at(bob, 1, 0)
    await graph.counts_rest_at(ann, 0, 1)


async def test_a_follow_whose_publish_was_cut_short_is_counted(
    graph: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await graph.add_user(), await graph.add_user()

    async def killed(row: object) -> bool:
        return False

    monkeypatch.setattr(graph.outbox, "publish_now", killed)
    await graph.follow(ann, bob)
    assert ids(await graph.followers(bob)) == [ann.user_id]
    await until(lambda: _counted(graph, bob), 20.0, "the relay's publish")


async def _counted(graph: Instance, user: User) -> bool:
    return (await graph.user(user)).followers_count == 1


async def test_a_change_that_a_crash_left_half_applied_is_completed(
    graph: Instance, session: CqlSession
) -> None:
    """Only the outbox row is there."""
    ann, bob, cid, *many = [await graph.add_user() for _ in range(6)]
    now_us = time.time_ns() // 1000
    edge = Edge(ann.user_id, bob.user_id, now_us, 0)
    row = graph.edges._row(edge, following=True, changed_us=now_us)
    await session.batch([graph.outbox.insert(row)])
    edges = [Edge(bob.user_id, user.user_id, now_us + n, 0) for n, user in enumerate(many)]
    await session.batch([graph.outbox.insert(graph.edges._row_of_many(edges))])

    await graph.follow(ann, cid)
    (standing,) = (await graph.edges._edges(ann.user_id, [cid.user_id]))[cid.user_id]
    undone = graph.edges._row(standing, following=False, changed_us=now_us + 60_000_000)
    await session.batch([graph.outbox.insert(undone)])

    async def completed() -> bool:
        following = [ids(await graph.following(user)) for user in (ann, bob)]
        return following == [[bob.user_id], ids(many)[::-1]]

    await until(completed, 20.0, "the relay's restoring")
    await graph.counts_rest_at(ann, 0, 1)
    await graph.counts_rest_at(bob, 1, 3)
    await graph.counts_rest_at(cid, 0, 0)
    for user in many:
        await graph.counts_rest_at(user, 1, 0)
