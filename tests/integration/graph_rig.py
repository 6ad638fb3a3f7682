"""graph_svc in the test's own process, whole: server, counter, relay, on the module's keyspace."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType

from starling.graph.v1 import graph_lookup_service_pb2 as lookup_pb
from starling.graph.v1 import graph_service_pb2 as pb
from starling.graph.v1.graph_lookup_service_pb2_grpc import (
    GraphLookupServiceStub,
    add_GraphLookupServiceServicer_to_server,
)
from starling.graph.v1.graph_service_pb2_grpc import (
    GraphServiceStub,
    add_GraphServiceServicer_to_server,
)
from starling.graph.v1.user_pb2 import User

from graph_svc.counter import Counter
from graph_svc.edge_store import EdgeStore
from graph_svc.lookup import GraphLookup
from graph_svc.service import GraphService
from graph_svc.user_store import UserStore
from meshkit import identity
from meshkit.background import cancel_all
from meshkit.channel import MeshChannel
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession
from meshkit.events import EventBus
from meshkit.identity import Caller
from meshkit.outbox import Outbox
from meshkit.page_token import PageTokens
from meshkit.server import MeshServer
from meshkit.snowflake import first_id_at
from meshkit.streams import COUNTS, GRAPH
from meshkit.write_clock import WriteClock
from tests.conftest import until


class calling_as:
    """Calls in the block are made by this user."""

    def __init__(self, user: User | int) -> None:
        self._caller = (
            Caller(user, "") if isinstance(user, int) else Caller(user.user_id, user.username)
        )

    def __enter__(self) -> None:
        self._before = identity.maybe_caller()
        identity.set_caller(self._caller)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        identity.set_caller(self._before)


@dataclass
class Instance:
    """One running graph_svc, and its parts."""

    users: UserStore
    edges: EdgeStore
    outbox: Outbox
    counter: Counter
    graph: GraphServiceStub
    lookup: GraphLookupServiceStub
    address: str

    async def add_user(self, username: str = "") -> User:
        """A user under a fresh id."""
        name = username or f"u_{secrets.token_hex(6)}"
        request = lookup_pb.CreateUserRequest(
            user_id=fresh_id(), username=name, display_name=name.title()
        )
        return (await self.lookup.CreateUser(request)).user

    async def follow(self, follower: User, followee: User) -> None:
        """As the edge would call it."""
        with calling_as(follower):
            await self.graph.FollowUser(pb.FollowUserRequest(user_id=followee.user_id))

    async def unfollow(self, follower: User, followee: User) -> None:
        """As the edge would call it."""
        with calling_as(follower):
            await self.graph.UnfollowUser(pb.UnfollowUserRequest(user_id=followee.user_id))

    async def user(self, user: User) -> User:
        """The user by now."""
        with calling_as(user):
            return (await self.graph.GetUser(pb.GetUserRequest(user_id=user.user_id))).user

    async def followers(self, user: User, limit: int = 100) -> list[User]:
        """The whole list, page by page."""
        listed: list[User] = []
        cursor = ""
        with calling_as(user):
            while True:
                page = await self.graph.ListFollowers(
                    pb.ListFollowersRequest(user_id=user.user_id, cursor=cursor, limit=limit)
                )
                listed.extend(page.users)
                cursor = page.next_cursor
                if not cursor:
                    return listed

    async def following(self, user: User, limit: int = 100) -> list[User]:
        """The whole list, page by page."""
        listed: list[User] = []
        cursor = ""
        with calling_as(user):
            while True:
                page = await self.graph.ListFollowing(
                    pb.ListFollowingRequest(user_id=user.user_id, cursor=cursor, limit=limit)
                )
                listed.extend(page.users)
                cursor = page.next_cursor
                if not cursor:
                    return listed

    async def pages_of_followers(self, user: User, size: int) -> list[list[int]]:
        """All pages of follower ids, `size` at a time."""
        pages, token = [], b""
        while True:
            page = await self.lookup.ListFollowerIds(
                lookup_pb.ListFollowerIdsRequest(
                    user_id=user.user_id, page_size=size, page_token=token
                )
            )
            assert len(page.follower_ids) <= size
            assert page.follower_ids or not page.next_page_token
            assert page.followers_count == (await self.user(user)).followers_count
            pages.append(list(page.follower_ids))
            token = page.next_page_token
            if not token:
                return pages

    async def pages_of_followees(self, user: User, size: int) -> list[list[int]]:
        """All pages of followee ids, `size` at a time."""
        pages, token = [], b""
        while True:
            page = await self.lookup.ListFolloweeIds(
                lookup_pb.ListFolloweeIdsRequest(
                    user_id=user.user_id, page_size=size, page_token=token
                )
            )
            pages.append(list(page.followee_ids))
            token = page.next_page_token
            if not token:
                return pages

    async def counts_rest_at(self, user: User, followers: int, following: int) -> None:
        """Wait until the user's counts are these, as the contract has it within 2 s."""

        async def there() -> bool:
            found = await self.user(user)
            return (found.followers_count, found.following_count) == (followers, following)

        await until(there, 20.0, f"counts of {user.username} = {followers}, {following}")


def ids(users: list[User]) -> list[int]:
    """Their ids, in their order."""
    return [user.user_id for user in users]


def fresh_id() -> int:
    """An id of now."""
    return first_id_at(time.time_ns() // 1_000_000) | random.getrandbits(22)


@asynccontextmanager
async def graph_instance(
    config: MeshConfig, *, followers_a_shard: int = 50_000, counting: bool = True
) -> AsyncIterator[Instance]:
    """A graph_svc that runs until the block ends; without `counting` it consumes no events."""
    session = await CqlSession.open(config)
    bus = await EventBus.open(config, [GRAPH, COUNTS])
    clock = WriteClock()
    outbox = Outbox(session, bus, "graph_outbox")
    users = UserStore(session, clock)
    edges = EdgeStore(session, outbox, clock)
    counter = Counter(users, edges, bus, clock, followers_a_shard)
    server = MeshServer(
        config,
        [
            (
                add_GraphServiceServicer_to_server,
                GraphService(users, edges, PageTokens(b"k" * 32)),
            ),
            (add_GraphLookupServiceServicer_to_server, GraphLookup(users, edges)),
        ],
    )
    await server.start()
    address = f"127.0.0.1:{server.port}"
    channel = MeshChannel(address)
    works = [outbox.relay(secrets.token_hex(4), edges.restore).run]
    if counting:
        works += [consumer.run for consumer in counter.consumers()]
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield Instance(
            users,
            edges,
            outbox,
            counter,
            GraphServiceStub(channel),
            GraphLookupServiceStub(channel),
            address,
        )
    finally:
        await channel.close()
        await server.stop(1.0)
        await cancel_all(tasks)
        await outbox.flush()
        await bus.close()
        await session.close()
