"""Locks by (follower, followee), so that one process does not read and write an edge twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

Pair = tuple[int, int]


class PairLocks:
    """A lock for every pair in use; nothing is kept for the others."""

    def __init__(self) -> None:
        self._locks: dict[Pair, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        """How many pairs are in use."""
        return len(self._locks)

    @asynccontextmanager
    async def hold(self, pairs: Iterable[Pair]) -> AsyncIterator[None]:
        """Hold all `pairs`; taken in one order by everybody, so that two callers never wait in a ring."""
        async with AsyncExitStack() as stack:
            for pair in sorted(set(pairs)):
                await stack.enter_async_context(self._one(pair))
            yield

    @asynccontextmanager
    async def _one(self, pair: Pair) -> AsyncIterator[None]:
        lock, users = self._locks.get(pair) or (asyncio.Lock(), 0)
        self._locks[pair] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._locks[pair]
            if users == 1:
                del self._locks[pair]
            else:
                self._locks[pair] = (lock, users - 1)
