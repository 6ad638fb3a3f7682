"""Passwords: argon2id, computed off the event loop by a few threads with a bounded queue."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from gateway.reasons import TOO_MANY_PASSWORDS

R = TypeVar("R")

# OWASP's first choice that fits a small machine: about 25 ms and 19 MiB each.
_TIME_COST, _MEMORY_KIB, _PARALLELISM = 2, 19 * 1024, 1


class Passwords:
    """Hashes and verifies; refuses (TOO_MANY_PASSWORDS) when the queue is full."""

    def __init__(self, threads: int, queue: int) -> None:
        self._hasher = argon2.PasswordHasher(_TIME_COST, _MEMORY_KIB, _PARALLELISM)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._most = threads + queue
        self._under_way = 0
        # What an unknown user's password is compared with, so that it takes as long as a wrong one.
        self._nobody = self._hasher.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """The hash to keep, in argon2's own text form, which names its parameters."""
        return await self._run(lambda: self._hasher.hash(_normalised(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one hashed; False, after as long, where there is no hash."""
        return await self._run(lambda: self._matches(password_hash, password))

    async def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._nobody, _normalised(password))
        except argon2.exceptions.VerifyMismatchError:
            return False
        return password_hash is not None

    async def _run(self, work: Callable[[], R]) -> R:
        if self._under_way >= self._most:
            raise TOO_MANY_PASSWORDS.error()
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Also when the caller gives up: what was queued is then never run.
        future.add_done_callback(self._done)
        return await future

    def _done(self, _: object) -> None:
        self._under_way -= 1


def _normalised(password: str) -> str:
    """NFC (RFC 8265): keyboards and systems differ in how they compose what looks the same."""
    return unicodedata.normalize("NFC", password)
