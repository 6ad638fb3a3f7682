"""The users of graph_svc, as far as accounts need them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starling.graph.v1.graph_lookup_service_pb2 import (
    BatchGetUsersRequest,
    CreateUserRequest,
    CreateUserResponse,
    ResolveUsernameRequest,
    ResolveUsernameResponse,
)
from starling.graph.v1.graph_lookup_service_pb2_grpc import GraphLookupServiceStub
from starling.graph.v1.user_pb2 import User

from gateway.reasons import username_taken
from meshkit import deadline
from meshkit.errors import AlreadyExists, DeadlineExceeded, NotFound, Unavailable

_CREATE_TIMEOUT_S = 2.0
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Profile:
    """What a new user says of themselves; all clean, the username in lower case."""

    username: str
    display_name: str
    bio: str


class Users:
    """Calls graph_svc."""

    def __init__(self, graph: GraphLookupServiceStub) -> None:
        self._graph = graph

    async def id_of(self, username: str) -> int | None:
        """The id of the user with this username, or None."""
        try:
            found: ResolveUsernameResponse = await self._graph.ResolveUsername(
                ResolveUsernameRequest(username=username)
            )
        except NotFound:
            return None
        return found.user_id

    async def get(self, user_id: int) -> User | None:
        """The user with counts, or None."""
        found = await self._graph.BatchGetUsers(BatchGetUsersRequest(user_ids=[user_id]))
        result = found.results[0]
        return result.user if result.HasField("user") else None

    async def create(self, user_id: int, profile: Profile) -> User:
        """Create the user; tried again, under the same id, until the outcome is known or time is up.

        Raises AlreadyExists (USERNAME_TAKEN); Unavailable or DeadlineExceeded leave the outcome open.
        """
        request = CreateUserRequest(
            user_id=user_id,
            username=profile.username,
            display_name=profile.display_name,
            bio=profile.bio,
        )
        while True:
            try:
                created: CreateUserResponse = await self._graph.CreateUser(
                    request, timeout=_CREATE_TIMEOUT_S
                )
            except AlreadyExists as error:
                raise username_taken(profile.username) from error
            except (Unavailable, DeadlineExceeded):
                if not _time_for_another_try():
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                return created.user


def _time_for_another_try() -> bool:
    left_s = deadline.remaining()
    return left_s is not None and left_s > _PAUSE_S + 10 * deadline.RESERVE_S
