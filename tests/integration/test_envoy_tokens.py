"""Who gets past a real edge, and as whom: tokens, the keys that verify them, ids in requests."""

import asyncio
import base64
import json
import string
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from envoy import policy
from tests.conftest import until
from tests.integration.envoy_rest import error
from tests.integration.envoy_rig import USER_ID, Mesh, jwks, mesh_spec, new_directory, running

HOME = "/v1/timeline/home"
ME = str(USER_ID)


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


async def test_the_header_is_one_token_to_the_letter(mesh: Mesh) -> None:
    """Each of these holds a good token, and something else."""
    good = mesh.token()
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    padding = [c for c in letters if letters.index(c) // 16 == letters.index(good[-1]) // 16]
    # The last 4 bits of an ES256 signature's last letter say nothing: decoders do not agree on them.
    refused = [f"Bearer {good[:-1]}{letter}" for letter in padding if letter != good[-1]]
    assert len(refused) == 15
    refused += [f"Bearer {good}{more}" for more in ("x", "A", "=", "==", " x", ",", ".x", ";", '"')]
    refused += [
        f"Bearer {good} {good}",
        f"Bearer {good}, Bearer {good}",
        f"Bearer {good} Basic YTpi",
    ]
    refused += [
        f"{scheme}{good}" for scheme in ("Basic ", "Bearer  ", "Bearer", "X Bearer ", "Bearer x ")
    ]
    for header in refused:
        answer = await mesh.request("GET", HOME, headers={"authorization": header})
        (info,) = error(answer, 401, 16)["details"]
        assert info["reason"] == "TOKEN_INVALID", header
        assert answer.headers["www-authenticate"].startswith('Bearer realm="https://localhost:')
    twice = [("authorization", f"Bearer {good}")] * 2
    assert (await mesh.client.get(mesh.url + HOME, headers=twice)).status_code == 401
    assert not mesh.recorder.calls
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        answer = await mesh.request("GET", HOME, headers={"authorization": f"{scheme} {good}"})
        assert answer.status_code == 200, scheme


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
    spoofed = {"x-starling-user-id": ME}
    await mesh.request("POST", "/v1/auth/login", json={"username": "alice"}, headers=spoofed)
    assert "x-starling-user-id" not in mesh.recorder.last("Login").metadata


def calls(mesh: Mesh, is_open: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each REST call's verb, a path of it, and what the service must read from that."""
    for method in mesh.api.methods:
        if policy.is_open(method) == is_open:
            for binding in method.bindings:
                path = binding.template
                for name, value in (("user_id", "5"), ("tweet_id", "5"), ("username", "bob")):
                    path = path.replace(f"{{{name}}}", value)
                named = {name: "bob" if name == "username" else 5 for name in binding.variables}
                yield binding.verb, path.replace("{file}", "x.js"), named


@pytest.mark.parametrize("name", ["user_id", "userId", "follower_id", "followerId"])
async def test_ones_own_id_may_stand_anywhere_and_changes_nothing(mesh: Mesh, name: str) -> None:
    encoded = f"%{ord(name[0]):x}{name[1:]}=%31{ME[1:]}"
    escaped = f'{{"\\u{ord(name[0]):04x}{name[1:]}":"\\u0031{ME[1:]}"}}'
    for verb, path, named in calls(mesh, is_open=False):
        for query in (f"?{name}={ME}", f"?{encoded}", f"?{name}={ME}&{name}={ME}"):
            assert (await mesh.request(verb, path + query)).status_code == 200, (verb, path, query)
        for body in (f'{{"{name}":"{ME}"}}', f'{{"{name}":{ME}}}', f'{{"{name}":null}}', escaped):
            answer = await mesh.request(verb, path, content=body.encode())
            assert answer.status_code == 200, (verb, path, body, answer.text)
        assert len(mesh.recorder.calls) == 7
        for call in mesh.recorder.calls:
            fields = {field.name: value for field, value in call.request.ListFields()}
            assert fields == named, (verb, path)
        mesh.recorder.reset()


@pytest.mark.parametrize("name", ["user_id", "userId", "follower_id", "followerId"])
async def test_nobody_elses_id_may_stand_anywhere(mesh: Mesh, name: str) -> None:
    field = {"userId": "user_id", "followerId": "follower_id"}.get(name, name)
    other = {"user_id": "userId", "follower_id": "followerId"}.get(name, field)
    values = ('"5"', "5", f"{ME}.0", f'"{ME} "', f'"0{ME}"', '""', "true", "[]", "{}")
    bodies = [
        *(f'{{"{name}":{value}}}' for value in values),
        f'{{"\\u{ord(name[0]):04x}{name[1:]}":"5"}}',
        f'{{"{other}":"{ME}","{name}":"5"}}',
    ]
    queries = [
        *(f"{name}={value}" for value in ("5", "", f"{ME}0", f"0{ME}", f"%20{ME}", "%zz")),
        f"%{ord(name[0]):x}{name[1:]}=5",
        f"{name}={ME}&{name}=5",
        name,
    ]
    for verb, path, _ in calls(mesh, is_open=False):
        answers = [await mesh.request(verb, path, content=body.encode()) for body in bodies]
        answers += [await mesh.request(verb, f"{path}?{query}") for query in queries]
        for answer in answers:
            (info,) = error(answer, 403, 7)["details"]
            assert info["reason"] == "IDENTITY_MISMATCH", answer.text
            assert info["metadata"] == {"field": field}
    assert not mesh.recorder.calls


async def test_an_open_call_has_no_identity(mesh: Mesh) -> None:
    for verb, path, _ in calls(mesh, is_open=True):
        for name in ("user_id", "followerId"):
            found = error(await mesh.request(verb, f"{path}?{name}={ME}"), 400, 3)
            assert found["message"] == f"unknown query parameter {name}"
            answer = await mesh.request(verb, path, content=f'{{"{name}":"5"}}'.encode())
            assert answer.status_code == 200


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
