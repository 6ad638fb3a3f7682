"""Users: unique usernames, profiles, reads in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starling.graph.v1 import graph_lookup_service_pb2 as lookup_pb
from starling.graph.v1 import graph_service_pb2 as pb
from starling.tweet.v1.tweet_events_pb2 import (
    AuthorCountsChanged,
    AuthorsCountsChanged,
    TweetEvent,
)

from graph_svc import user_store
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Lwt, Statement
from meshkit.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
)
from meshkit.events import EventBus
from meshkit.streams import AUTHOR_COUNTS_CHANGED, AUTHORS_COUNTS_CHANGED
from tests.conftest import until
from tests.integration.graph_rig import Instance, calling_as, fresh_id, graph_instance


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def graph(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[Instance]:
    async with graph_instance(mesh_config) as instance:
        yield instance


async def create(
    graph: Instance, user_id: int, username: str, display_name: str = "Ann"
) -> lookup_pb.CreateUserResponse:
    request = lookup_pb.CreateUserRequest(
        user_id=user_id, username=username, display_name=display_name, bio="hello"
    )
    response: lookup_pb.CreateUserResponse = await graph.lookup.CreateUser(request)
    return response


async def test_a_user_is_kept_as_given_and_found_in_any_case(graph: Instance) -> None:
    user_id = fresh_id()
    request = lookup_pb.CreateUserRequest(
        user_id=user_id, username="Ada_1", display_name="  A\u0301da ", bio=" first\nlady "
    )
    created = (await graph.lookup.CreateUser(request)).user
    assert (created.username, created.display_name, created.bio) == ("ada_1", "Áda", "first\nlady")
    assert created.created_at.endswith("Z")
    assert await graph.user(created) == created
    with calling_as(created):
        found = await graph.graph.GetUserByUsername(pb.GetUserByUsernameRequest(username="ADA_1"))
    assert found.user == created
    resolved = await graph.lookup.ResolveUsername(
        lookup_pb.ResolveUsernameRequest(username="aDa_1")
    )
    assert (resolved.user_id, resolved.username) == (user_id, "ada_1")


async def test_creating_again_answers_the_user_as_by_now(graph: Instance) -> None:
    user_id = fresh_id()
    created = (await create(graph, user_id, "again")).user
    with calling_as(created):
        await graph.graph.UpdateUser(pb.UpdateUserRequest(user_id=user_id, bio="changed"))
    repeated = (await create(graph, user_id, "AGAIN", "Other")).user
    assert (repeated.display_name, repeated.bio) == ("Ann", "changed")
    with pytest.raises(AlreadyExists) as refused:
        await create(graph, user_id, "another_name")
    assert refused.value.reason == "USER_ID_IN_USE"
    with pytest.raises(NotFound):
        await graph.lookup.ResolveUsername(
            lookup_pb.ResolveUsernameRequest(username="another_name")
        )


async def test_of_many_who_want_a_username_one_gets_it(graph: Instance) -> None:
    ids = [fresh_id() for _ in range(10)]
    results = await asyncio.gather(
        *(create(graph, user_id, "wanted") for user_id in ids), return_exceptions=True
    )
    won = [result.user for result in results if isinstance(result, lookup_pb.CreateUserResponse)]
    lost = [result for result in results if isinstance(result, AlreadyExists)]
    assert (len(won), len(lost)) == (1, 9)
    assert {error.reason for error in lost} == {"USERNAME_TAKEN"}
    batch = await graph.lookup.BatchGetUsers(lookup_pb.BatchGetUsersRequest(user_ids=ids))
    assert [result.user_id for result in batch.results] == ids
    assert [r.user_id for r in batch.results if r.HasField("user")] == [won[0].user_id]


async def test_a_crash_after_the_claim_leaves_nothing_half(
    graph: Instance, session: CqlSession
) -> None:
    user_id = fresh_id()
    claimed = await session.execute_lwt(user_store._CLAIM, ("halfway", user_id, "Half", "way"))
    assert claimed.applied
    with pytest.raises(NotFound), calling_as(user_id):
        await graph.graph.GetUser(pb.GetUserRequest(user_id=user_id))
    resolved = await graph.lookup.ResolveUsername(
        lookup_pb.ResolveUsernameRequest(username="halfway")
    )
    assert resolved.user_id == user_id
    with calling_as(user_id):
        user = (await graph.graph.GetUser(pb.GetUserRequest(user_id=user_id))).user
    assert (user.username, user.display_name, user.bio) == ("halfway", "Half", "way")


@pytest.mark.parametrize("applied", [True, False])
async def test_a_claim_without_an_answer_is_resolved(
    graph: Instance, session: CqlSession, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    execute_lwt = session.execute_lwt

    async def lost(statement: Statement, params: tuple[object, ...] = ()) -> Lwt:
        if applied:
            await execute_lwt(statement, params)
        raise OutcomeUnknown("the answer was lost")

    store = user_store.UserStore(session, graph.users._clock)
    username, user_id = f"unknown_{applied}".lower(), fresh_id()
    monkeypatch.setattr(session, "execute_lwt", lost)
    if applied:
        created = await store.create(user_id, username, "Un", "known")
        assert (created.user_id, created.display_name) == (user_id, "Un")
    else:
        with pytest.raises(OutcomeUnknown):
            await store.create(user_id, username, "Un", "known")
        monkeypatch.undo()
        assert (await store.create(user_id, username, "Un", "known")).user_id == user_id


async def test_edits_at_once_of_different_fields_are_both_kept(graph: Instance) -> None:
    user = await graph.add_user()
    for round_ in range(10):
        with calling_as(user):
            await asyncio.gather(
                graph.graph.UpdateUser(
                    pb.UpdateUserRequest(user_id=user.user_id, display_name=f"name {round_}")
                ),
                graph.graph.UpdateUser(
                    pb.UpdateUserRequest(user_id=user.user_id, bio=f"bio {round_}")
                ),
            )
        now = await graph.user(user)
        assert (now.display_name, now.bio) == (f"name {round_}", f"bio {round_}")


async def test_an_edit_normalises_and_may_be_empty_or_wrong(graph: Instance) -> None:
    user = await graph.add_user()
    me = user.user_id
    with calling_as(user):
        unchanged = await graph.graph.UpdateUser(pb.UpdateUserRequest(user_id=me))
        assert unchanged.user == user
        edited = await graph.graph.UpdateUser(
            pb.UpdateUserRequest(user_id=me, display_name=" e\u0301 ", bio="  ")
        )
        assert (edited.user.display_name, edited.user.bio) == ("é", "")
        with pytest.raises(InvalidArgument) as refused:
            await graph.graph.UpdateUser(
                pb.UpdateUserRequest(user_id=me, display_name=" ", bio="a\x00b")
            )
        assert {v.field for v in refused.value.violations} == {"display_name", "bio"}
        with pytest.raises(InvalidArgument):
            await graph.graph.UpdateUser(pb.UpdateUserRequest(user_id=me, display_name="one\ntwo"))
    with calling_as(me + 1), pytest.raises(PermissionDenied) as denied:
        await graph.graph.UpdateUser(pb.UpdateUserRequest(user_id=me, bio="mine now"))
    assert denied.value.reason == "IDENTITY_MISMATCH"


async def test_what_is_unknown_is_not_found(graph: Instance) -> None:
    with calling_as(5):
        for call in (
            graph.graph.GetUser(pb.GetUserRequest(user_id=77)),
            graph.graph.GetUserByUsername(pb.GetUserByUsernameRequest(username="nobody_here")),
            graph.graph.ListFollowers(pb.ListFollowersRequest(user_id=77)),
            graph.graph.ListFollowing(pb.ListFollowingRequest(user_id=77)),
            graph.graph.FollowUser(pb.FollowUserRequest(user_id=77)),
            graph.graph.UnfollowUser(pb.UnfollowUserRequest(user_id=77)),
        ):
            with pytest.raises(NotFound) as missing:
                await call
            assert (missing.value.reason, missing.value.domain) == (
                "USER_NOT_FOUND",
                "graph.starling",
            )


@pytest.mark.parametrize("username", ["ab", "a" * 31, "with-dash", "ümlaut", "new\n", "a b c", ""])
async def test_usernames_have_their_form(graph: Instance, username: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await create(graph, fresh_id(), username)
    assert refused.value.violations[0].field == "username"


async def test_a_thousand_users_at_once_in_the_order_asked(graph: Instance) -> None:
    users = [await graph.add_user() for _ in range(12)]
    asked = [users[n % 12].user_id if n % 3 else n + 1 for n in range(1000)]
    batch = await graph.lookup.BatchGetUsers(lookup_pb.BatchGetUsersRequest(user_ids=asked))
    assert [result.user_id for result in batch.results] == asked
    for n, result in enumerate(batch.results):
        assert result.HasField("user") == bool(n % 3)
        if n % 3:
            assert result.user == users[n % 12]


async def test_tweets_counts_come_from_events_and_the_latest_wins(
    graph: Instance, mesh_config: MeshConfig
) -> None:
    user = await graph.add_user()
    bus = await EventBus.open(mesh_config, [])

    async def tell(count: int, as_of_us: int) -> None:
        counts = AuthorCountsChanged(author_id=user.user_id, tweets_count=count, as_of_us=as_of_us)
        await bus.publish(
            AUTHOR_COUNTS_CHANGED,
            TweetEvent(author_counts_changed=counts),
            msg_id=f"{user.user_id}:{as_of_us}",
        )

    await tell(7, 2_000_000)
    await tell(3, 1_000_000)
    await tell(8, 3_000_000)

    async def eight() -> bool:
        return (await graph.user(user)).tweets_count == 8

    await until(eight)
    # And of several authors by one event, as they are told now.
    users = [user, *[await graph.add_user() for _ in range(9)]]
    for first, as_of_us in ((20, 5_000_000), (10, 4_000_000)):
        told = AuthorsCountsChanged(as_of_us=as_of_us)
        for n, each in enumerate(users, first):
            told.counts.add(author_id=each.user_id, tweets_count=n)
        event = TweetEvent(authors_counts_changed=told)
        await bus.publish(AUTHORS_COUNTS_CHANGED, event, msg_id=f"authors:{as_of_us}")
    await tell(19, 4_500_000)
    await tell(21, 6_000_000)

    async def all_told() -> bool:
        shown = [(await graph.user(each)).tweets_count for each in users]
        return shown == [21, *range(21, 30)]

    await until(all_told)
    await bus.close()
