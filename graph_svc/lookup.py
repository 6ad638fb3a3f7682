"""Users and edges in bulk, for the mesh (starling/graph/v1/graph_lookup_service.proto)."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import grpc
from starling.graph.v1 import graph_lookup_service_pb2 as pb
from starling.graph.v1.graph_lookup_service_pb2_grpc import GraphLookupServiceServicer

from graph_svc.edge_store import START, EdgeStore, Position
from graph_svc.profile import clean_profile
from graph_svc.reasons import cannot_follow_self, unknown_user, unknown_username
from graph_svc.user_store import UserStore
from meshkit.errors import InvalidArgument

Context = grpc.aio.ServicerContext[Any, Any]

# Followers: shard, followed_us and id of the last one. Followees: the last id.
_FOLLOWER_TOKEN = struct.Struct(">iqq")
_FOLLOWEE_TOKEN = struct.Struct(">q")


class GraphLookup(GraphLookupServiceServicer):
    """Reachable from the mesh only: which service may call is the sidecar's business."""

    def __init__(self, users: UserStore, edges: EdgeStore) -> None:
        self._users = users
        self._edges = edges

    async def CreateUser(
        self, request: pb.CreateUserRequest, context: Context
    ) -> pb.CreateUserResponse:
        display_name, bio = clean_profile(request.display_name, request.bio)
        user = await self._users.create(
            request.user_id, request.username.lower(), display_name or "", bio or ""
        )
        return pb.CreateUserResponse(user=user.to_proto())

    async def BatchGetUsers(
        self, request: pb.BatchGetUsersRequest, context: Context
    ) -> pb.BatchGetUsersResponse:
        users = await self._users.get_many(request.user_ids)
        response = pb.BatchGetUsersResponse()
        for user_id in request.user_ids:
            user = users.get(user_id)
            response.results.add(user_id=user_id, user=user.to_proto() if user else None)
        return response

    async def ResolveUsername(
        self, request: pb.ResolveUsernameRequest, context: Context
    ) -> pb.ResolveUsernameResponse:
        user = await self._users.find(request.username.lower())
        if user is None:
            raise unknown_username(request.username)
        return pb.ResolveUsernameResponse(user_id=user.user_id, username=user.username)

    async def ListFollowerIds(
        self, request: pb.ListFollowerIdsRequest, context: Context
    ) -> pb.ListFollowerIdsResponse:
        shard, after = _follower_position(request.page_token)
        missing = request.page_size
        # One more than wanted: whether the shard goes on.
        user, edges = await asyncio.gather(
            self._users.get(request.user_id),
            self._edges.follower_ids(request.user_id, shard, after, missing + 1),
        )
        if user is None:
            return pb.ListFollowerIdsResponse()
        ids = [user_id for _, user_id in edges[:missing]]
        while len(edges) <= missing and shard < user.follower_shard:
            missing -= len(edges)
            shard, after = shard + 1, START
            edges = await self._edges.follower_ids(user.user_id, shard, after, missing + 1)
            ids.extend(user_id for _, user_id in edges[:missing])
        token = b""
        if len(edges) > missing:
            last = edges[missing - 1] if missing else after
            token = _FOLLOWER_TOKEN.pack(shard, *last)
        return pb.ListFollowerIdsResponse(
            follower_ids=dict.fromkeys(ids),
            next_page_token=token,
            followers_count=user.totals.get("followers", 0),
        )

    async def ListFolloweeIds(
        self, request: pb.ListFolloweeIdsRequest, context: Context
    ) -> pb.ListFolloweeIdsResponse:
        after_id = _followee_position(request.page_token)
        ids = await self._edges.followee_ids(request.user_id, after_id, request.page_size + 1)
        page = ids[: request.page_size]
        more = len(ids) > len(page)
        return pb.ListFolloweeIdsResponse(
            followee_ids=dict.fromkeys(page),
            next_page_token=_FOLLOWEE_TOKEN.pack(page[-1]) if more else b"",
        )

    async def BatchFollow(
        self, request: pb.BatchFollowRequest, context: Context
    ) -> pb.BatchFollowResponse:
        if request.follower_id in request.user_ids:
            raise cannot_follow_self("user_ids")
        everybody = [request.follower_id, *request.user_ids]
        shards = await self._users.follower_shards(everybody)
        for user_id in everybody:
            if user_id not in shards:
                raise unknown_user(user_id)
        await self._edges.follow(
            request.follower_id, {user_id: shards[user_id] for user_id in request.user_ids}
        )
        return pb.BatchFollowResponse()


def _follower_position(token: bytes) -> tuple[int, Position]:
    if not token:
        return 0, START
    if len(token) != _FOLLOWER_TOKEN.size:
        raise _refused()
    shard, followed_us, user_id = _FOLLOWER_TOKEN.unpack(token)
    return shard, (followed_us, user_id)


def _followee_position(token: bytes) -> int:
    if not token:
        return 0
    if len(token) != _FOLLOWEE_TOKEN.size:
        raise _refused()
    return int(_FOLLOWEE_TOKEN.unpack(token)[0])


def _refused() -> InvalidArgument:
    return InvalidArgument.field("page_token", "is not a page token of this list", "INVALID_CURSOR")
