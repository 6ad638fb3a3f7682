"""Whether Redis still has what it had: a value that a flush, a restart or a failover takes away.

Who reads the store and then fills the cache must not do so across a loss of the cache: what would have
told that the reading is old, such as the mark of a deletion, is lost with it. A generation is the server's
lineage (another after a failover) and a value that is lost with the data (by a flush). On one server there
is one; in a cluster, where each server loses its own data, one a bucket, in its slot:

    generation          STRING  a value never used before
    generation:{b042}   STRING  the same, of a bucket in a cluster
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from importlib import resources

from meshkit.redis import Redis, RedisReplyError, RedisUnavailable, Script

from .buckets import bucket

CURRENT = Script(
    "generation",
    (resources.files(__package__) / "lua" / "generation.lua").read_text(),
    lineage=True,
)

Generations = dict[str, bytes]
"""Key of a generation -> its value."""


class Generation:
    """The present generations of the cache."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    def grouped(self, ids: Sequence[int]) -> dict[str, list[int]]:
        """Indices of ids by the key of their generation."""
        if not self._redis.clustered:
            return {f"{self._prefix}generation": list(range(len(ids)))} if ids else {}
        groups: dict[str, list[int]] = {}
        for i, each in enumerate(ids):
            groups.setdefault(f"{self._prefix}generation:{{{bucket(each)}}}", []).append(i)
        return groups

    async def current(self, ids: Sequence[int]) -> Generations:
        """To be read before the store, and compared by the script that fills.

        What cannot be had is left out: nothing is then cached there. Raises RedisUnavailable or
        RedisReplyError when none can.
        """
        keys = list(self.grouped(ids))
        nonce = secrets.token_hex(8)
        replies = await self._redis.eval_each(CURRENT, [([key], [nonce]) for key in keys])
        found = {}
        for key, reply in zip(keys, replies, strict=True):
            if isinstance(reply, bytes):
                found[key] = reply
            elif not isinstance(reply, RedisUnavailable | RedisReplyError):
                raise TypeError(f"a generation is bytes, not {reply!r}")
        if keys and not found:
            raise replies[0]
        return found
