"""Why the gateway refuses a call."""

from __future__ import annotations

from meshkit.errors import (
    AlreadyExists,
    NotFound,
    Reason,
    ResourceExhausted,
    StarlingError,
    Unauthenticated,
)

DOMAIN = "gateway.starling"

USERNAME_TAKEN = Reason(
    "USERNAME_TAKEN", DOMAIN, AlreadyExists, "The username belongs to somebody else, for ever."
)
BAD_CREDENTIALS = Reason(
    "BAD_CREDENTIALS", DOMAIN, Unauthenticated, "The username or the password is wrong."
)
REFRESH_TOKEN_INVALID = Reason(
    "REFRESH_TOKEN_INVALID",
    DOMAIN,
    Unauthenticated,
    "The refresh token is unknown, expired, used before or revoked: sign in again.",
)
TOO_MANY_PASSWORDS = Reason(
    "TOO_MANY_PASSWORDS", DOMAIN, ResourceExhausted, "Too many passwords wait to be checked."
)
PAGE_NOT_FOUND = Reason(
    "PAGE_NOT_FOUND", DOMAIN, NotFound, "The explorer has no file of this name."
)


def username_taken(username: str) -> StarlingError:
    """USERNAME_TAKEN for a username."""
    return USERNAME_TAKEN.error(f"username {username} is taken", username=username)
