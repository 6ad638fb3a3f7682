"""Follows: lists, order, counts and events equal what was done, also when two processes do it at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable

import pytest
import pytest_asyncio
from starling.graph.v1 import graph_lookup_service_pb2 as lookup_pb
from starling.graph.v1 import graph_service_pb2 as pb
from starling.graph.v1.graph_events_pb2 import GraphEvent
from starling.graph.v1.user_pb2 import User

from graph_svc.edge_store import Edge
from meshkit.config import MeshConfig
from meshkit.consumer import Consumer, EventMeta
from meshkit.cql import CqlSession
from meshkit.errors import InvalidArgument, NotFound, PermissionDenied
from meshkit.events import ConsumerSpec, EventBus
from meshkit.streams import FOLLOW_CHANGED, GRAPH
from tests.conftest import until
from tests.integration.graph_rig import Instance, calling_as, graph_instance


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


def ids(users: list[User]) -> list[int]:
    return [user.user_id for user in users]


async def test_a_follow_is_listed_and_counted_at_both_ends(graph: Instance) -> None:
    ann, bob = await graph.add_user(), await graph.add_user()
    await graph.follow(ann, bob)
    assert ids(await graph.followers(bob)) == [ann.user_id]
    assert ids(await graph.following(ann)) == [bob.user_id]
    await graph.counts_rest_at(ann, 0, 1)
    await graph.counts_rest_at(bob, 1, 0)
    assert (await graph.followers(bob))[0].following_count == 1
    await graph.unfollow(ann, bob)
    assert await graph.followers(bob) == []
    assert await graph.following(ann) == []
    await graph.counts_rest_at(ann, 0, 0)
    await graph.counts_rest_at(bob, 0, 0)


async def test_twice_counts_once_and_keeps_the_first_place(graph: Instance) -> None:
    ann, bob, cid = [await graph.add_user() for _ in range(3)]
    await graph.follow(ann, bob)
    await graph.follow(ann, cid)
    await graph.follow(ann, bob)
    assert ids(await graph.following(ann)) == [cid.user_id, bob.user_id]
    await graph.unfollow(ann, bob)
    await graph.unfollow(ann, bob)
    await graph.follow(ann, bob)
    assert ids(await graph.following(ann)) == [bob.user_id, cid.user_id]
    await graph.counts_rest_at(ann, 0, 2)


async def test_what_may_not_be_followed(graph: Instance) -> None:
    ann, bob = await graph.add_user(), await graph.add_user()
    with calling_as(ann):
        with pytest.raises(InvalidArgument) as oneself:
            await graph.graph.FollowUser(pb.FollowUserRequest(user_id=ann.user_id))
        assert oneself.value.reason == "CANNOT_FOLLOW_SELF"
        assert [v.field for v in oneself.value.violations] == ["user_id"]
        await graph.graph.UnfollowUser(pb.UnfollowUserRequest(user_id=ann.user_id))
        for call in (
            graph.graph.FollowUser(
                pb.FollowUserRequest(user_id=bob.user_id, follower_id=bob.user_id)
            ),
            graph.graph.UnfollowUser(pb.UnfollowUserRequest(user_id=bob.user_id, follower_id=0)),
        ):
            with pytest.raises(PermissionDenied) as denied:
                await call
            assert denied.value.reason == "IDENTITY_MISMATCH"
        await graph.graph.FollowUser(
            pb.FollowUserRequest(user_id=bob.user_id, follower_id=ann.user_id)
        )
    assert ids(await graph.followers(bob)) == [ann.user_id]


async def test_pages_hold_each_once_in_order_while_new_follows_come(graph: Instance) -> None:
    star = await graph.add_user()
    fans = [await graph.add_user() for _ in range(14)]
    for fan in fans[:11]:
        await graph.follow(fan, star)
        # Each shard fills at four and the next opens: a page is merged from several.
        await graph.counts_rest_at(star, fans.index(fan) + 1, 0)
    assert (await graph.users.follower_shards([star.user_id]))[star.user_id] >= 2
    expected = ids(fans[10::-1])
    for limit in (1, 2, 3, 10, 11, 12, 100):
        assert ids(await graph.followers(star, limit)) == expected

    with calling_as(fans[0]):
        page = await graph.graph.ListFollowers(
            pb.ListFollowersRequest(user_id=star.user_id, limit=5)
        )
        seen = ids(list(page.users))
        await graph.follow(fans[11], star)
        await graph.unfollow(fans[5], star)
        while page.next_cursor:
            page = await graph.graph.ListFollowers(
                pb.ListFollowersRequest(user_id=star.user_id, limit=5, cursor=page.next_cursor)
            )
            seen += ids(list(page.users))
    assert seen == [user_id for user_id in expected if user_id != fans[5].user_id]


async def test_a_cursor_belongs_to_one_reader_and_one_list(graph: Instance) -> None:
    ann, bob, star = [await graph.add_user() for _ in range(3)]
    for user in (ann, bob):
        await graph.follow(user, star)
        await graph.follow(star, user)
    with calling_as(ann):
        first = await graph.graph.ListFollowers(
            pb.ListFollowersRequest(user_id=star.user_id, limit=1)
        )
        cursor = first.next_cursor
        assert cursor
        changed = cursor[:5] + ("A" if cursor[5] != "A" else "B") + cursor[6:]

    async def refused(reader: User, listed: User, token: str, kind: str = "followers") -> None:
        call: Awaitable[object] = (
            graph.graph.ListFollowers(pb.ListFollowersRequest(user_id=listed.user_id, cursor=token))
            if kind == "followers"
            else graph.graph.ListFollowing(
                pb.ListFollowingRequest(user_id=listed.user_id, cursor=token)
            )
        )
        with calling_as(reader), pytest.raises(InvalidArgument) as error:
            await call
        assert [v.field for v in error.value.violations] == ["cursor"]

    await refused(ann, star, changed)
    await refused(ann, ann, cursor)
    await refused(bob, star, cursor)
    await refused(ann, star, cursor, "following")
    with calling_as(ann):
        for limit in (0, 101):
            with pytest.raises(InvalidArgument):
                await graph.graph.ListFollowers(
                    pb.ListFollowersRequest(user_id=star.user_id, limit=limit)
                )


async def test_batch_follow_is_as_one_by_one(graph: Instance) -> None:
    ann = await graph.add_user()
    others = [await graph.add_user() for _ in range(30)]
    await graph.follow(ann, others[7])
    request = lookup_pb.BatchFollowRequest(follower_id=ann.user_id, user_ids=ids(others))
    await asyncio.gather(*(graph.lookup.BatchFollow(request) for _ in range(2)))
    await graph.lookup.BatchFollow(request)
    newest_first = [user for user in reversed(others) if user is not others[7]] + [others[7]]
    assert ids(await graph.following(ann)) == ids(newest_first)
    await graph.counts_rest_at(ann, 0, 30)
    for other in others:
        await graph.counts_rest_at(other, 1, 0)

    with pytest.raises(NotFound) as unknown:
        await graph.lookup.BatchFollow(
            lookup_pb.BatchFollowRequest(
                follower_id=others[0].user_id, user_ids=[others[1].user_id, 12, 13]
            )
        )
    assert unknown.value.metadata["user_id"] == "12"
    with pytest.raises(InvalidArgument) as oneself:
        await graph.lookup.BatchFollow(
            lookup_pb.BatchFollowRequest(follower_id=ann.user_id, user_ids=[ann.user_id])
        )
    assert oneself.value.reason == "CANNOT_FOLLOW_SELF"
    assert await graph.following(others[0]) == []


async def test_ids_in_bulk_cover_every_shard_once(graph: Instance) -> None:
    star, lone = await graph.add_user(), await graph.add_user()
    fans = [await graph.add_user() for _ in range(13)]
    for n, fan in enumerate(fans):
        await graph.follow(fan, star)
        await graph.counts_rest_at(star, n + 1, 0)
    await graph.lookup.BatchFollow(
        lookup_pb.BatchFollowRequest(follower_id=star.user_id, user_ids=ids(fans))
    )
    for size in (1, 2, 3, 4, 5, 12, 13, 14, 10_000):
        followers = [
            user_id for page in await _pages_of_followers(graph, star, size) for user_id in page
        ]
        followees = [
            user_id for page in await _pages_of_followees(graph, star, size) for user_id in page
        ]
        assert sorted(followers) == sorted(ids(fans))
        assert sorted(followees) == sorted(ids(fans))
    assert await _pages_of_followers(graph, lone, 5) == [[]]
    unknown = await graph.lookup.ListFollowerIds(
        lookup_pb.ListFollowerIdsRequest(user_id=4, page_size=5)
    )
    assert unknown == lookup_pb.ListFollowerIdsResponse()
    for token in (b"x", b"x" * 20 + b"y"):
        with pytest.raises(InvalidArgument):
            await graph.lookup.ListFollowerIds(
                lookup_pb.ListFollowerIdsRequest(user_id=4, page_size=5, page_token=token)
            )


async def _pages_of_followers(graph: Instance, user: User, size: int) -> list[list[int]]:
    pages, token = [], b""
    while True:
        page = await graph.lookup.ListFollowerIds(
            lookup_pb.ListFollowerIdsRequest(user_id=user.user_id, page_size=size, page_token=token)
        )
        assert len(page.follower_ids) <= size
        assert page.follower_ids or not page.next_page_token
        assert page.followers_count == (await graph.user(user)).followers_count
        pages.append(list(page.follower_ids))
        token = page.next_page_token
        if not token:
            return pages


async def _pages_of_followees(graph: Instance, user: User, size: int) -> list[list[int]]:
    pages, token = [], b""
    while True:
        page = await graph.lookup.ListFolloweeIds(
            lookup_pb.ListFolloweeIdsRequest(user_id=user.user_id, page_size=size, page_token=token)
        )
        pages.append(list(page.followee_ids))
        token = page.next_page_token
        if not token:
            return pages


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

    await until(equal, 10.0, "the model's edges")


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
            for page in await _pages_of_followees(instances[0], user, 100):
                truth.update((user.user_id, b) for b in page)
        now = [await instances[1].user(user) for user in users]
        return edges == by_follower == truth and all(
            user.followers_count == len(followers[user.user_id])
            and user.following_count == len(following[user.user_id])
            and max(edges.values(), default=1) == 1
            for user in now
        )

    await until(agree, 10.0, "agreement of lists, truth and counts")


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


async def test_a_batch_that_a_crash_left_half_applied_is_completed(
    graph: Instance, session: CqlSession
) -> None:
    """Only the outbox row is there: the batch log would bring the rest, but much later."""
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
