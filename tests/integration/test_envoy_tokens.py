"""Who gets past a real edge: tokens, and the keys that verify them."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from envoy import policy
from tests.conftest import until
from tests.integration.envoy_rig import USER_ID, Mesh, jwks, mesh_spec, new_directory, running

HOME = "/v1/timeline/home"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_mesh() -> AsyncIterator[Mesh]:
    async with new_directory() as directory, running(mesh_spec(directory), directory) as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Mesh:
    shared_mesh.recorder.reset()
    return shared_mesh


def unsigned(claims: dict[str, object]) -> str:
    """A token with "alg": "none"."""

    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


async def test_every_call_needs_a_token_but_the_open_ones(mesh: Mesh) -> None:
    for method in mesh.api.methods:
        for binding in method.bindings:
            path = binding.template.replace("{", "").replace("}", "")
            answer = await mesh.request(binding.verb, path.replace("_id", ""), token="")
            if policy.is_open(method):
                assert answer.status_code == 200, binding
            else:
                assert answer.status_code == 401, binding
                assert answer.json()["code"] == 16
                assert answer.headers["content-type"] == "application/json"
                assert mesh.recorder.calls == []
            mesh.recorder.reset()


async def test_a_token_must_be_the_gateways_ours_and_in_time(mesh: Mesh) -> None:
    now = int(time.time())
    good = mesh.token()
    head, body, signature = good.split(".")
    bad = {
        "expired": mesh.token(exp=now - 60),
        "not yet valid": mesh.token(nbf=now + 120),
        "another audience": mesh.token(aud="other"),
        "another issuer": mesh.token(iss="https://other.test"),
        "another key": mesh.token(key=ec.generate_private_key(ec.SECP256R1())),
        "without an end": mesh.token(exp=None),
        "unsigned": unsigned({"iss": "https://starling.test", "sub": "1", "exp": now + 60}),
        "no token": "abc",
        "cut": good[:-4],
        "without a signature": f"{head}.{body}.",
        "another body": f"{head}.{body[:-2]}AA.{signature}",
    }
    for what, token in bad.items():
        answer = await mesh.request("GET", HOME, token=token)
        assert answer.status_code == 401, what
        assert answer.json()["details"][0]["reason"] == "TOKEN_INVALID", what
    assert not mesh.recorder.calls
    assert (await mesh.request("GET", HOME, token=good)).status_code == 200


async def test_only_the_authorization_header_carries_a_token(mesh: Mesh) -> None:
    answer = await mesh.request("GET", f"{HOME}?access_token={mesh.token()}", token="")
    assert answer.status_code == 401
    for scheme in ("Basic ", "Token ", ""):
        headers = {"authorization": scheme + mesh.token()}
        assert (await mesh.request("GET", HOME, headers=headers, token="")).status_code == 401
    headers = {"authorization": f"bearer {mesh.token()}"}
    assert (await mesh.request("GET", HOME, headers=headers, token="")).status_code == 200


async def test_a_token_that_expires_stops_working_though_it_was_seen_before(mesh: Mesh) -> None:
    token = mesh.token(exp=int(time.time()) - 3)
    assert (await mesh.request("GET", HOME, token=token)).status_code == 200, "clocks may differ"

    async def refused() -> bool:
        return (await mesh.request("GET", HOME, token=token)).status_code == 401

    await until(refused, what="the end of the token")


async def test_a_token_without_a_username_names_the_user_alone(mesh: Mesh) -> None:
    await mesh.request(
        "GET", HOME, token=mesh.token(username=None), headers={"x-starling-username": "mallory"}
    )
    metadata = mesh.recorder.last("GetHomeTimeline").metadata
    assert metadata["x-starling-user-id"] == str(USER_ID)
    assert "x-starling-username" not in metadata


async def test_an_open_call_carries_no_identity_whatever_token_it_has(mesh: Mesh) -> None:
    await mesh.request("POST", "/v1/auth/login", json={"username": "alice"})
    assert "x-starling-user-id" not in mesh.recorder.last("Login").metadata


async def test_the_edge_serves_before_the_gateway_and_takes_tokens_soon_after() -> None:
    async with new_directory() as directory:
        spec = mesh_spec(directory)
        async with running(spec, directory, services=False) as mesh:
            assert (await mesh.request("GET", "/healthz", token="")).status_code == 200
            assert (await mesh.request("GET", HOME, token="")).status_code == 401
            answer = await mesh.request("GET", HOME)
            assert answer.status_code == 503
            assert answer.json()["details"][0]["reason"] == "KEYS_UNAVAILABLE"
            assert answer.headers["retry-after"] == "1"
            for service in mesh.services.values():
                await service.start()

            async def served() -> bool:
                return (await mesh.request("GET", HOME)).status_code == 200

            await until(served, what="a token that is verified")


async def test_a_new_key_is_known_within_its_grace(mesh: Mesh) -> None:
    """The gateway publishes a key before it signs with it."""
    new = ec.generate_private_key(ec.SECP256R1())
    assert (await mesh.request("GET", HOME, token=mesh.token(key=new))).status_code == 401
    path = "/starling.gateway.v1.DiscoveryService/GetJwks"
    before, mesh.recorder.answers[path] = mesh.recorder.answers[path], jwks(new)
    try:

        async def served() -> bool:
            await asyncio.sleep(0.5)
            return (await mesh.request("GET", HOME, token=mesh.token(key=new))).status_code == 200

        await until(served, within_s=15, what="the new key")
    finally:
        mesh.recorder.answers[path] = before
