"""Users and who follows whom, as clients call it (starling/graph/v1/graph_service.proto)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from starling.graph.v1 import graph_service_pb2 as pb
from starling.graph.v1.graph_service_pb2_grpc import GraphServiceServicer
from starling.graph.v1.user_pb2 import User

from graph_svc.edge_store import START, EdgeStore, Position
from graph_svc.profile import clean_profile
from graph_svc.reasons import cannot_follow_self, unknown_user, unknown_username
from graph_svc.user_store import UserRecord, UserStore
from meshkit.identity import current_caller, require_self
from meshkit.page_token import PageTokens

DEFAULT_LIMIT = 20

Context = grpc.aio.ServicerContext[Any, Any]
ReadEdges = Callable[[Position, int], Awaitable[list[Position]]]


class GraphService(GraphServiceServicer):
    """Every call acts for the caller that the edge took from the verified token."""

    def __init__(self, users: UserStore, edges: EdgeStore, page_tokens: PageTokens) -> None:
        self._users = users
        self._edges = edges
        self._page_tokens = page_tokens

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        current_caller()
        user = await self._known(request.user_id)
        return pb.GetUserResponse(user=user.to_proto())

    async def GetUserByUsername(
        self, request: pb.GetUserByUsernameRequest, context: Context
    ) -> pb.GetUserByUsernameResponse:
        current_caller()
        user = await self._users.find(request.username.lower())
        if user is None:
            raise unknown_username(request.username)
        return pb.GetUserByUsernameResponse(user=user.to_proto())

    async def UpdateUser(
        self, request: pb.UpdateUserRequest, context: Context
    ) -> pb.UpdateUserResponse:
        require_self("user_id", request.user_id)
        display_name, bio = clean_profile(
            request.display_name if request.HasField("display_name") else None,
            request.bio if request.HasField("bio") else None,
        )
        await self._known(request.user_id)
        if display_name is not None or bio is not None:
            await self._users.update(request.user_id, display_name, bio)
        user = await self._known(request.user_id)
        return pb.UpdateUserResponse(user=user.to_proto())

    async def FollowUser(
        self, request: pb.FollowUserRequest, context: Context
    ) -> pb.FollowUserResponse:
        caller = require_self(
            "follower_id", request.follower_id if request.HasField("follower_id") else None
        )
        if request.user_id == caller.user_id:
            raise cannot_follow_self("user_id")
        shards = await self._users.follower_shards([request.user_id])
        if not shards:
            raise unknown_user(request.user_id)
        await self._edges.follow(caller.user_id, shards)
        return pb.FollowUserResponse(success=True)

    async def UnfollowUser(
        self, request: pb.UnfollowUserRequest, context: Context
    ) -> pb.UnfollowUserResponse:
        caller = require_self(
            "follower_id", request.follower_id if request.HasField("follower_id") else None
        )
        if not await self._users.follower_shards([request.user_id]):
            raise unknown_user(request.user_id)
        await self._edges.unfollow(caller.user_id, request.user_id)
        return pb.UnfollowUserResponse(success=True)

    async def ListFollowers(
        self, request: pb.ListFollowersRequest, context: Context
    ) -> pb.ListFollowersResponse:
        listed = await self._known(request.user_id)

        async def read(after: Position, limit: int) -> list[Position]:
            return await self._edges.followers(listed.user_id, listed.follower_shard, after, limit)

        users, next_cursor = await self._page(request, f"followers:{listed.user_id}", read)
        return pb.ListFollowersResponse(users=users, next_cursor=next_cursor)

    async def ListFollowing(
        self, request: pb.ListFollowingRequest, context: Context
    ) -> pb.ListFollowingResponse:
        listed = await self._known(request.user_id)

        async def read(after: Position, limit: int) -> list[Position]:
            return await self._edges.following(listed.user_id, after, limit)

        users, next_cursor = await self._page(request, f"following:{listed.user_id}", read)
        return pb.ListFollowingResponse(users=users, next_cursor=next_cursor)

    async def _known(self, user_id: int) -> UserRecord:
        user = await self._users.get(user_id)
        if user is None:
            raise unknown_user(user_id)
        return user

    async def _page(
        self,
        request: pb.ListFollowersRequest | pb.ListFollowingRequest,
        kind: str,
        read: ReadEdges,
    ) -> tuple[list[User], str]:
        """The users of one page, and the cursor of the next, "" at the end."""
        reader = current_caller().user_id
        cursor, limit = request.cursor, DEFAULT_LIMIT
        if request.HasField("limit"):
            limit = request.limit
        after = self._page_tokens.decode(cursor, kind, reader) if cursor else START
        # One more than asked: whether there is a next page.
        edges = await read(after, limit + 1)
        page = edges[:limit]
        users = await self._users.get_many(user_id for _, user_id in page)
        more = len(edges) > limit
        return (
            [users[user_id].to_proto() for _, user_id in page if user_id in users],
            self._page_tokens.encode(kind, reader, page[-1]) if more else "",
        )
