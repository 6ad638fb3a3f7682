"""Why graph_svc refuses a call."""

from __future__ import annotations

from meshkit.errors import (
    AlreadyExists,
    FieldViolation,
    InvalidArgument,
    NotFound,
    Reason,
    StarlingError,
)

DOMAIN = "graph.starling"

USER_NOT_FOUND = Reason("USER_NOT_FOUND", DOMAIN, NotFound, "No user has this id or username.")
USERNAME_TAKEN = Reason(
    "USERNAME_TAKEN", DOMAIN, AlreadyExists, "The username belongs to somebody else, for ever."
)
CANNOT_FOLLOW_SELF = Reason(
    "CANNOT_FOLLOW_SELF", DOMAIN, InvalidArgument, "Nobody can follow themselves."
)
USER_ID_IN_USE = Reason(
    "USER_ID_IN_USE", DOMAIN, AlreadyExists, "The user id belongs to another username."
)


def unknown_user(user_id: int) -> StarlingError:
    """USER_NOT_FOUND for an id."""
    return USER_NOT_FOUND.error(f"user {user_id} does not exist", user_id=user_id)


def unknown_username(username: str) -> StarlingError:
    """USER_NOT_FOUND for a username."""
    return USER_NOT_FOUND.error(f"user @{username} does not exist", username=username)


def cannot_follow_self(field: str) -> StarlingError:
    """CANNOT_FOLLOW_SELF, on the field that names the followee."""
    violation = FieldViolation(field, "must not be the caller's own id", CANNOT_FOLLOW_SELF.name)
    return CANNOT_FOLLOW_SELF.error(violations=[violation])
