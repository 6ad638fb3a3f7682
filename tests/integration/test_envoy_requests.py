"""What becomes of a request at a real edge: it reaches its method, or is refused in one form."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from starling.gateway.v1 import account_service_pb2
from starling.timeline.v1 import timeline_service_pb2
from starling.tweet.v1 import tweet_pb2, tweet_service_pb2

from tests.integration.envoy_rest import error, raw
from tests.integration.envoy_rig import USER_ID, Mesh, mesh_spec, new_directory, running

HOME = "/v1/timeline/home"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_mesh() -> AsyncIterator[Mesh]:
    async with new_directory() as directory, running(mesh_spec(directory), directory) as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Mesh:
    shared_mesh.recorder.reset()
    return shared_mesh


async def test_a_read_reaches_its_service_with_the_callers_identity_and_a_deadline(
    mesh: Mesh,
) -> None:
    async def answer(request: Any, context: Any) -> Any:
        tweet = tweet_pb2.Tweet(tweet_id=7, content="hé", likes_count=3)
        return timeline_service_pb2.GetHomeTimelineResponse(tweets=[tweet])

    mesh.recorder.answers["/starling.timeline.v1.TimelineService/GetHomeTimeline"] = answer
    got = await mesh.request("GET", HOME + "?limit=5&cursor=a%2Fb%3D%3D")
    assert got.status_code == 200
    tweet = got.json()["tweets"][0]
    assert (tweet["tweet_id"], tweet["likes_count"], tweet["content"]) == ("7", 3, "hé")
    assert tweet["liked"] is False
    assert tweet["retweeted_by"] == ""
    assert tweet["media_ids"] == []
    call = mesh.recorder.last("GetHomeTimeline")
    assert call.request == timeline_service_pb2.GetHomeTimelineRequest(limit=5, cursor="a/b==")
    assert call.metadata["x-starling-user-id"] == str(USER_ID)
    assert call.metadata["x-starling-username"] == "alice"
    assert call.time_remaining_s is not None
    assert 9 < call.time_remaining_s < 9.9
    assert "authorization" not in call.metadata


async def test_every_public_call_reaches_its_method(mesh: Mesh) -> None:
    for method in mesh.api.methods:
        for binding in method.bindings:
            path = binding.template.replace("{username}", "alice").replace("{file}", "x.js")
            path = path.replace("{user_id}", "5").replace("{tweet_id}", "5")
            answer = await mesh.request(binding.verb, path)
            assert answer.status_code == 200, (binding, answer.text)
            assert mesh.recorder.calls[-1].path == method.path, binding


async def test_a_post_carries_its_body_and_idempotency_key(mesh: Mesh) -> None:
    body = {"content": "hi", "media_ids": ["a"], "user_id": str(USER_ID), "unknown": {"x": 1}}
    await mesh.request("POST", "/v1/tweets", json=body, headers={"Idempotency-Key": "k 1"})
    call = mesh.recorder.last("PostTweet")
    assert call.request == tweet_service_pb2.PostTweetRequest(content="hi", media_ids=["a"])
    assert call.metadata["idempotency-key"] == "k 1"


async def test_a_body_may_be_empty(mesh: Mesh) -> None:
    assert (await mesh.request("POST", "/v1/users/5/follow")).json() == {"success": False}
    assert mesh.recorder.last("FollowUser").request.user_id == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("verb", "path", "status", "code"),
    [
        ("GET", "/nope", 404, 5),
        ("GET", "/", 404, 5),
        ("GET", "/v1/tweets/5/", 404, 5),
        ("POST", "/starling.tweet.v1.TweetService/PostTweet", 404, 5),
        ("POST", "/starling.graph.v1.GraphLookupService/BatchGetUsers", 404, 5),
        ("POST", "/grpc.health.v1.Health/Check", 404, 5),
        ("GET", "/v1/users", 405, 12),
        ("PUT", "/v1/tweets/5", 405, 12),
        ("HEAD", HOME, 405, 12),
        ("OPTIONS", HOME, 405, 12),
        ("FOO", HOME, 405, 12),
        ("FOO", "/nope", 404, 5),
        ("POST", "/healthz", 404, 5),
    ],
)
async def test_unknown_paths_and_methods(
    mesh: Mesh, verb: str, path: str, status: int, code: int
) -> None:
    answer = await mesh.request(verb, path, token="")
    if verb == "HEAD":
        assert answer.status_code == status
    else:
        error(answer, status, code)
    if status == 405:
        assert answer.headers["allow"]
    assert not mesh.recorder.calls


async def test_an_unknown_method_of_http_1_is_a_wrong_one(mesh: Mesh) -> None:
    answer = await raw(mesh, f"FOO {HOME} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.startswith("HTTP/1.1 405")
    assert json.loads(answer.partition("\r\n\r\n")[2])["code"] == 12


async def test_healthz_is_open(mesh: Mesh) -> None:
    answer = await mesh.request("GET", "/healthz", token="")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/grpc",
        "application/grpc+proto",
        "Application/GRPC",
        "application/grpc-web",
        "application/grpc-web-text+proto",
        "application/connect+proto",
        "application/proto",
        "application/x-protobuf",
        "application/vnd.google.protobuf",
    ],
)
@pytest.mark.parametrize("path", ["/v1/tweets", "/starling.tweet.v1.TweetService/PostTweet"])
async def test_grpc_in_any_form_is_refused(mesh: Mesh, content_type: str, path: str) -> None:
    message = tweet_service_pb2.PostTweetRequest(content="hi").SerializeToString()
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    answer = await mesh.request(
        "POST", path, content=framed, headers={"content-type": content_type, "te": "trailers"}
    )
    error(answer, 415, 3)
    assert not mesh.recorder.calls


async def test_a_large_body_of_another_protocol_is_refused_as_well(mesh: Mesh) -> None:
    headers = {"content-type": "application/grpc"}
    error(await mesh.request("POST", "/v1/tweets", content=b"x" * 200_000, headers=headers), 415, 3)


async def test_a_grpc_client_gets_nowhere(mesh: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials(mesh.spec.ca.read_bytes())
    metadata = [("authorization", f"Bearer {mesh.token()}")]
    async with grpc.aio.secure_channel(f"localhost:{mesh.spec.edge.port}", credentials) as channel:
        call: Any = channel.unary_unary("/starling.tweet.v1.TweetService/PostTweet")
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"", metadata=metadata, timeout=5)
    assert not mesh.recorder.calls


async def test_clients_set_no_headers_of_the_mesh(mesh: Mesh) -> None:
    answer = await mesh.request(
        "GET",
        HOME,
        headers={
            "x-starling-user-id": "1",
            "X-Starling-Username": "mallory",
            "x-starling-anything": "1",
            "grpc-timeout": "1n",
            "grpc-encoding": "nonsense",
            "grpc-tags-bin": "!",
            "something-bin": "!!!",
            "x-envoy-upstream-rq-timeout-ms": "1",
            "x-envoy-retry-on": "5xx",
            "x-envoy-expected-rq-timeout-ms": "1",
            "x-forwarded-client-cert": "By=spiffe://starling/tweet_svc",
            "x-forwarded-for": "9.9.9.9",
            "traceparent": "00-11111111111111111111111111111111-2222222222222222-01",
            "b3": "0",
            "x-request-id": "mine",
            "cookie": "a=b",
            "x_starling_user_id": "1",
        },
    )
    assert answer.status_code == 200
    metadata = mesh.recorder.last("GetHomeTimeline").metadata
    assert metadata["x-starling-user-id"] == str(USER_ID)
    assert metadata["x-starling-username"] == "alice"
    assert metadata["x-request-id"] != "mine"
    ours = {
        "x-starling-user-id",
        "x-starling-username",
        "x-request-id",
        "user-agent",
        "x-forwarded-proto",
    }
    assert set(metadata) <= ours | {"x-envoy-external-address"}


@pytest.mark.parametrize("name", ["we!rd", "a'b", "x*y", "a|b", "~", "#", "a^b`c", "$%&+"])
async def test_a_header_that_grpc_does_not_allow_does_no_harm(mesh: Mesh, name: str) -> None:
    assert (await mesh.request("GET", HOME, headers={name: "1"})).status_code == 200
    assert name not in mesh.recorder.last("GetHomeTimeline").metadata


async def test_a_header_value_of_any_bytes_does_no_harm(mesh: Mesh) -> None:
    headers = {b"x-note": b"caf\xe9 \xff", b"user-agent": b"\xe2\x82\xac"}
    headers[b"authorization"] = f"Bearer {mesh.token()}".encode()
    answer = await mesh.client.get(mesh.url + HOME, headers=headers)
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("verb", ["POST", "PATCH", "DELETE", "GET"])
async def test_a_large_body_is_a_413(mesh: Mesh, verb: str) -> None:
    path = {"POST": "/v1/tweets", "PATCH": "/v1/users/5"}.get(verb, "/v1/tweets/5")
    body = json.dumps({"content": "x" * 65536}).encode()
    error(await mesh.request(verb, path, content=body), 413, 3)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 10000

    error(await mesh.request(verb, path, content=chunks()), 413, 3)
    assert not mesh.recorder.calls


async def test_a_body_just_below_the_limit_passes(mesh: Mesh) -> None:
    body = json.dumps({"content": "x" * 65000}).encode()
    assert (await mesh.request("POST", "/v1/tweets", content=body)).status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/nope", 404), (HOME, 405), ("/v1/tweets", 401)])
async def test_a_refusal_waits_for_the_end_of_the_body(mesh: Mesh, path: str, status: int) -> None:
    """Over HTTP/2 one that came before would be followed by a reset, at which curl drops it."""
    reader, writer = await asyncio.open_connection(
        "localhost", mesh.spec.edge.port, ssl=mesh.trusting()
    )
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        writer.write(b"{}")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    finally:
        writer.transport.abort()


async def test_large_headers_are_a_431(mesh: Mesh) -> None:
    answer = await raw(mesh, f"GET {HOME} HTTP/1.1\r\nhost: x\r\nx-long: {'a' * 20000}\r\n\r\n")
    assert answer.startswith("HTTP/1.1 431")
    assert json.loads(answer.partition("\r\n\r\n")[2])["code"] == 3


async def test_headers_of_the_size_that_passes_reach_the_service(mesh: Mesh) -> None:
    headers = {f"x-long-{n}": "a" * 1400 for n in range(10)}
    assert (await mesh.request("GET", HOME, headers=headers)).status_code == 200


async def test_a_request_that_is_no_http_gets_an_answer_in_json(mesh: Mesh) -> None:
    answer = await raw(mesh, "nonsense\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400")


async def test_paths_are_normalised(mesh: Mesh) -> None:
    for path in ("/v1//users/6", "/v1/users/5/../6", "/v1/./users/6"):
        answer = await raw(
            mesh,
            f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            f"authorization: Bearer {mesh.token()}\r\n\r\n",
        )
        assert answer.startswith("HTTP/1.1 200"), answer
        assert mesh.recorder.last("GetUser").request.user_id == 6  # type: ignore[attr-defined]
    error(await mesh.request("GET", "/v1/users%2f6"), 400, 3)


async def test_http_1_and_tls_1_2_are_served(mesh: Mesh) -> None:
    context = mesh.trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    answer = await raw(
        mesh, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", context
    )
    assert answer.startswith("HTTP/1.1 200")


async def test_keys_are_public(mesh: Mesh) -> None:
    answer = await mesh.request("GET", "/.well-known/jwks.json", token="")
    assert answer.json()["keys"][0]["alg"] == "ES256"
    assert isinstance(mesh.recorder.last("GetJwks").request, account_service_pb2.GetJwksRequest)
