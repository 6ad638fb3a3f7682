"""Passwords are hashed off the loop, and no more wait than the queue holds."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from gateway.passwords import Passwords
from meshkit.errors import ResourceExhausted


async def test_a_password_matches_its_hash_only() -> None:
    passwords = Passwords(2, 8)
    hashed = await passwords.hash("correct horse ☃")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify(hashed, "correct horse ☃")
    assert not await passwords.verify(hashed, "correct horse")
    assert not await passwords.verify(None, "nobody's password")
    assert hashed != await passwords.hash("correct horse ☃")
    await passwords.close()


async def test_a_password_is_the_same_however_it_is_composed() -> None:
    passwords = Passwords(1, 2)
    hashed = await passwords.hash("pa\u00dfw\u00f6rter")
    assert await passwords.verify(hashed, "pa\u00dfwo\u0308rter")
    assert not await passwords.verify(hashed, "pa\u00dfworter")
    assert await passwords.verify(await passwords.hash("e\u0301t\u00e9"), "\u00e9te\u0301")
    await passwords.close()


async def test_more_than_may_wait_are_refused_with_a_delay() -> None:
    passwords = Passwords(1, 2)
    results = await asyncio.gather(
        *(passwords.hash("password") for _ in range(8)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, ResourceExhausted)]
    assert len(refused) == 5
    assert refused[0].reason == "TOO_MANY_PASSWORDS"
    assert refused[0].retry_delay_s
    await passwords.hash("password")  # there is room again
    await passwords.close()


async def test_one_who_gave_up_frees_the_place() -> None:
    passwords = Passwords(1, 2)
    waiting = [asyncio.create_task(passwords.hash("password")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await passwords.verify(await passwords.hash("x" * 128), "x" * 128)
    await passwords.close()


async def test_the_loop_goes_on_and_nobody_takes_as_long_as_wrong() -> None:
    passwords = Passwords(1, 8)
    hashed = await passwords.hash("password")

    async def seconds(password_hash: str | None) -> float:
        started = time.perf_counter()
        await passwords.verify(password_hash, "wrong password")
        return time.perf_counter() - started

    known = median([await seconds(hashed) for _ in range(7)])
    unknown = median([await seconds(None) for _ in range(7)])
    assert 0.5 < known / unknown < 2

    longest = 0.0
    work = asyncio.create_task(passwords.hash("password"))
    while not work.done():
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - before)
    assert longest < known
    await passwords.close()
