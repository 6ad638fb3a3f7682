"""Follows: lists, order, pages and counts equal what was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest
import pytest_asyncio
from starling.graph.v1 import graph_lookup_service_pb2 as lookup_pb
from starling.graph.v1 import graph_service_pb2 as pb
from starling.graph.v1.user_pb2 import User

from meshkit.config import MeshConfig
from meshkit.errors import InvalidArgument, NotFound, PermissionDenied
from meshkit.events import EventBus
from tests.integration.graph_rig import Instance, calling_as, graph_instance, ids


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
            user_id for page in await graph.pages_of_followers(star, size) for user_id in page
        ]
        followees = [
            user_id for page in await graph.pages_of_followees(star, size) for user_id in page
        ]
        assert sorted(followers) == sorted(ids(fans))
        assert sorted(followees) == sorted(ids(fans))
    assert await graph.pages_of_followers(lone, 5) == [[]]
    unknown = await graph.lookup.ListFollowerIds(
        lookup_pb.ListFollowerIdsRequest(user_id=4, page_size=5)
    )
    assert unknown == lookup_pb.ListFollowerIdsResponse()
    for token in (b"x", b"x" * 20 + b"y"):
        with pytest.raises(InvalidArgument):
            await graph.lookup.ListFollowerIds(
                lookup_pb.ListFollowerIdsRequest(user_id=4, page_size=5, page_token=token)
            )
