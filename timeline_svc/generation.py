"""Whether Redis still has what it had: a value that a flush, or a restart, takes away.

Who reads the store and then fills the cache must not do so across a loss of the cache: what would have
told that the reading is old, such as the mark of a deletion, is lost with it.
"""

from __future__ import annotations

import secrets

from meshkit.redis import Redis


class Generation:
    """The present generation of the cache. Raises RedisUnavailable or RedisReplyError."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self.key = f"{prefix}generation"

    async def current(self) -> bytes:
        """To be read before the store, and compared by the script that fills."""
        known: bytes | None = await self._redis.call("GET", self.key)
        while known is None:
            await self._redis.call("SET", self.key, secrets.token_hex(8), "NX")
            known = await self._redis.call("GET", self.key)
        return known
