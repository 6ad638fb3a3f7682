"""Limits of a real edge: rates, slow clients, many connections."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from envoy.spec import RateLimits
from tests.conftest import until
from tests.integration.envoy_rig import Mesh, mesh_spec, new_directory, running

HOME = "/v1/timeline/home"


@contextlib.asynccontextmanager
async def limited(limits: RateLimits) -> AsyncIterator[Mesh]:
    async with (
        new_directory() as directory,
        running(mesh_spec(directory, limits=limits), directory) as mesh,
    ):
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mesh() -> AsyncIterator[Mesh]:
    async with new_directory() as directory, running(mesh_spec(directory), directory) as mesh:
        yield mesh


async def statuses(mesh: Mesh, count: int, path: str, token: str, verb: str = "GET") -> list[int]:
    """The statuses of `count` requests at once; a 429 is checked for its form."""
    answers = await asyncio.gather(*(mesh.request(verb, path, token=token) for _ in range(count)))
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["code"] == 8
            assert answer.json()["details"][0]["reason"] == "RATE_LIMITED"
    return [answer.status_code for answer in answers]


async def test_a_user_has_a_rate_and_a_burst_of_twice_that() -> None:
    async with limited(RateLimits(ip_rps=100_000, user_rps=10, auth_per_min=1000)) as mesh:
        alice, bob = mesh.token(sub="1001"), mesh.token(sub="1002")
        started = time.monotonic()
        got = await statuses(mesh, 60, HOME, alice)
        assert (await statuses(mesh, 15, HOME, bob)).count(200) == 15, "each has their own"
        other_token = mesh.token(sub="1001", jti="another")
        got += await statuses(mesh, 40, HOME, other_token)
        # What came back of the bucket meanwhile depends on how long all that took.
        assert 20 <= got.count(200) <= 20 + 10 * (time.monotonic() - started + 1), "others wait"
        assert got.count(429) == 100 - got.count(200)

        async def again() -> bool:
            return (await mesh.request("GET", HOME, token=alice)).status_code == 200

        await until(again)


async def test_an_address_has_a_rate_that_bad_tokens_count_against() -> None:
    async with limited(RateLimits(ip_rps=20, user_rps=1000, auth_per_min=1000)) as mesh:
        await asyncio.sleep(2)  # what starting took of the burst comes back
        started = time.monotonic()
        got = await statuses(mesh, 80, HOME, "bad.to.ken")
        assert got.count(401) >= 40
        for address in ("1.2.3.4", "5.6.7.8"):
            headers = {"x-forwarded-for": address, "x-real-ip": address}
            asked = (mesh.request("GET", HOME, headers=headers) for _ in range(80))
            got += [answer.status_code for answer in await asyncio.gather(*asked)]
        # All count as one address's, whatever they say; some of the bucket came back meanwhile.
        limited_to = 40 + 20 * (time.monotonic() - started + 1)
        assert got.count(401) + got.count(200) <= limited_to
        assert got.count(401) + got.count(200) + got.count(429) == 240


async def test_password_attempts_of_an_address_are_few() -> None:
    async with limited(RateLimits(ip_rps=100_000, user_rps=1000, auth_per_min=6)) as mesh:
        got = [await statuses(mesh, 2, p, "", "POST") for p in ("/v1/users", "/v1/auth/login")]
        got.append(await statuses(mesh, 6, "/v1/auth/refresh", "", "POST"))
        flat = [status for some in got for status in some]
        assert flat.count(200) == 6, "together"
        answer = await mesh.request("POST", "/v1/auth/login", token="")
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "10"
        assert (await mesh.request("GET", HOME)).status_code == 200
        assert (await mesh.request("POST", "/v1/auth/logout")).status_code == 200


async def test_slow_clients_are_cut_off(mesh: Mesh) -> None:
    auth = f"authorization: Bearer {mesh.token()}\r\n"
    half_a_body = f"POST /v1/tweets HTTP/1.1\r\nhost: x\r\n{auth}content-length: 100\r\n\r\n{{"
    answers = await asyncio.gather(
        answer_to(mesh, None),
        answer_to(mesh, "GET /v1/timeline/home HTT"),
        answer_to(mesh, half_a_body),
    )
    assert answers[0] == b""
    for answer in answers[1:]:
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"code":4' in answer


async def answer_to(mesh: Mesh, sent: str | None) -> bytes:
    """What comes until the edge closes the connection; it must within 15 s. None is no TLS."""
    reader, writer = await asyncio.open_connection(
        "localhost", mesh.spec.edge.port, ssl=None if sent is None else mesh.trusting()
    )
    try:
        writer.write((sent or "").encode())
        return await asyncio.wait_for(reader.read(), 15)
    finally:
        writer.transport.abort()


@pytest.mark.timeout(60)
async def test_a_thousand_idle_connections_leave_room(mesh: Mesh) -> None:
    context = mesh.trusting()
    connections: list[asyncio.StreamWriter] = []
    try:
        for _ in range(20):
            opened = await asyncio.gather(
                *(
                    asyncio.open_connection("localhost", mesh.spec.edge.port, ssl=context)
                    for _ in range(50)
                )
            )
            connections += [writer for _, writer in opened]
        started = time.monotonic()
        assert (await mesh.request("GET", HOME)).status_code == 200
        assert time.monotonic() - started < 10
    finally:
        for writer in connections:
            writer.transport.abort()
