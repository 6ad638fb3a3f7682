"""The exact shapes of the contract's answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

ID = re.compile(r"[1-9][0-9]{0,18}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
EPOCH_MS = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp() * 1000)

TWEET_KEYS = [
    "tweet_id",
    "user_id",
    "username",
    "content",
    "media_ids",
    "created_at",
    "likes_count",
    "retweets_count",
    "liked",
    "retweeted",
    "retweeted_by",
]
USER_KEYS = [
    "user_id",
    "username",
    "display_name",
    "bio",
    "created_at",
    "followers_count",
    "following_count",
    "tweets_count",
]
TOKEN_KEYS = ["access_token", "refresh_token", "token_type", "expires_in"]


def check_id(value: Any) -> None:
    """A decimal string of 64 bits."""
    assert isinstance(value, str)
    assert ID.fullmatch(value)
    assert int(value) < 2**63


def check_time(value: Any) -> None:
    """RFC 3339, UTC, milliseconds; close to now."""
    assert isinstance(value, str)
    assert TIME.fullmatch(value), value
    age_s = datetime.now(UTC).timestamp() - datetime.fromisoformat(value).timestamp()
    assert -60 < age_s < 24 * 3600


def check_created_by(snowflake: str, created_at: str) -> None:
    """The id's leading 41 bits are its time: ids are k-sortable."""
    at_ms = round(datetime.fromisoformat(created_at).timestamp() * 1000)
    assert (int(snowflake) >> 22) + EPOCH_MS == at_ms


def check_count(value: Any) -> None:
    """A JSON number."""
    assert type(value) is int
    assert value >= 0


def check_tweet(tweet: Any) -> None:
    """A tweet as every list and call shows it."""
    assert sorted(tweet) == sorted(TWEET_KEYS)
    check_id(tweet["tweet_id"])
    check_id(tweet["user_id"])
    check_time(tweet["created_at"])
    check_created_by(tweet["tweet_id"], tweet["created_at"])
    check_count(tweet["likes_count"])
    check_count(tweet["retweets_count"])
    assert isinstance(tweet["media_ids"], list)
    assert all(isinstance(media_id, str) for media_id in tweet["media_ids"])
    for field in ("username", "content", "retweeted_by"):
        assert isinstance(tweet[field], str)
    for field in ("liked", "retweeted"):
        assert isinstance(tweet[field], bool)


def check_user(user: Any) -> None:
    """A user as every list and call shows them."""
    assert sorted(user) == sorted(USER_KEYS)
    check_id(user["user_id"])
    check_time(user["created_at"])
    for field in ("followers_count", "following_count", "tweets_count"):
        check_count(user[field])
    for field in ("username", "display_name", "bio"):
        assert isinstance(user[field], str)
    assert re.fullmatch(r"[a-z0-9_]{3,30}", user["username"])


def check_signed_in(answer: Any, expires_in: int = 900) -> None:
    """A user with tokens, as registering, login and refresh answer it."""
    assert sorted(answer) == sorted(["user", *TOKEN_KEYS])
    check_user(answer["user"])
    assert answer["token_type"] == "Bearer"
    assert type(answer["expires_in"]) is int
    assert answer["expires_in"] == expires_in
    assert len(answer["access_token"].split(".")) == 3
    assert answer["refresh_token"]
