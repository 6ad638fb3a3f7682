"""How one tweet's likes and retweets are spread, so that a hot tweet makes no hot partition."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

SHARDS = 16


def shard_of(user_id: int) -> int:
    """The shard of a user's row under any tweet; never changes, as rows lie by it."""
    return crc32(user_id.to_bytes(8, "big", signed=True)) % SHARDS


def by_shard(user_ids: Iterable[int]) -> dict[int, list[int]]:
    """Distinct users by their shard, each list sorted."""
    shards: dict[int, list[int]] = {}
    for user_id in sorted(set(user_ids)):
        shards.setdefault(shard_of(user_id), []).append(user_id)
    return shards
