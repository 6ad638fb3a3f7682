"""Who calls: the identity the edge took from the verified token, carried in gRPC metadata.

The edge strips these keys from what clients send, sidecars admit only services of the mesh, so a service
believes them.
"""

from __future__ import annotations

import contextvars
from dataclasses import dataclass

from meshkit.errors import IDENTITY_MISMATCH, Unauthenticated

USER_ID_KEY = "x-starling-user-id"
USERNAME_KEY = "x-starling-username"


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated user on whose behalf the call is made."""

    user_id: int
    username: str


_caller: contextvars.ContextVar[Caller | None] = contextvars.ContextVar(
    "meshkit.identity", default=None
)


def set_caller(caller: Caller | None) -> None:
    """Set the present context's caller. For the server, for consumers and for tests."""
    _caller.set(caller)


def parse_caller(user_id: str | None, username: str | None) -> Caller | None:
    """The caller named by the two metadata values, or None when there is none or it is not decimal."""
    if not user_id or not (user_id.isascii() and user_id.isdigit()) or len(user_id) > 19:
        return None
    return Caller(int(user_id), username or "")


def maybe_caller() -> Caller | None:
    """The caller, or None for a call without a user."""
    return _caller.get()


def current_caller() -> Caller:
    """The caller. Raises Unauthenticated when the call has no user."""
    caller = _caller.get()
    if caller is None:
        raise Unauthenticated("this call needs an authenticated user")
    return caller


def require_self(field: str, given: int | None) -> Caller:
    """The caller, having checked that `given`, if present, names them.

    Raises Unauthenticated without a user, PermissionDenied (IDENTITY_MISMATCH) for someone else's id.
    An optional proto field goes in as `request.user_id if request.HasField("user_id") else None`.
    """
    caller = current_caller()
    if given is not None and given != caller.user_id:
        raise IDENTITY_MISMATCH.error(f"{field} must be the caller's own id", field=field)
    return caller


def outgoing_metadata() -> list[tuple[str, str]]:
    """Metadata that passes the present caller on to another service."""
    caller = _caller.get()
    if caller is None:
        return []
    return [(USER_ID_KEY, str(caller.user_id)), (USERNAME_KEY, caller.username)]
