"""Every reason with which tweet_svc refuses a call."""

from __future__ import annotations

from meshkit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Reason

DOMAIN = "tweet.starling"

TWEET_NOT_FOUND = Reason(
    "TWEET_NOT_FOUND", DOMAIN, NotFound, "No tweet has this id, or it was deleted."
)
NOT_THE_AUTHOR = Reason(
    "NOT_THE_AUTHOR", DOMAIN, PermissionDenied, "Only its author may delete a tweet."
)
SPAM_DETECTED = Reason(
    "SPAM_DETECTED",
    DOMAIN,
    FailedPrecondition,
    "The tweet looks like spam; ErrorInfo's metadata names the rule.",
)
IDEMPOTENCY_KEY_REUSED = Reason(
    "IDEMPOTENCY_KEY_REUSED",
    DOMAIN,
    InvalidArgument,
    "The idempotency key belongs to another request of the last 24 hours.",
)
IDEMPOTENCY_KEY_INVALID = Reason(
    "IDEMPOTENCY_KEY_INVALID",
    DOMAIN,
    InvalidArgument,
    "An idempotency key is one header of 1 to 255 printable ASCII characters.",
)
