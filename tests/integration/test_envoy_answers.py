"""What a client hears of a service's answer, through a real edge."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.api import httpbody_pb2
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from starling.timeline.v1 import timeline_service_pb2
from starling.tweet.v1 import tweet_pb2

from tests.integration.envoy_rest import error
from tests.integration.envoy_rig import Mesh, mesh_spec, new_directory, running

HOME = "/v1/timeline/home"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_mesh() -> AsyncIterator[Mesh]:
    async with new_directory() as directory, running(mesh_spec(directory), directory) as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Mesh:
    shared_mesh.recorder.reset()
    return shared_mesh


@pytest.mark.parametrize(
    ("grpc_code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.FAILED_PRECONDITION, 400),
        (grpc.StatusCode.OUT_OF_RANGE, 400),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ALREADY_EXISTS, 409),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.INTERNAL, 500),
    ],
)
async def test_what_a_service_refuses_becomes_json(
    mesh: Mesh, grpc_code: grpc.StatusCode, status: int
) -> None:
    violation = error_details_pb2.BadRequest()
    violation.field_violations.add(field="content", description="too long")
    info = error_details_pb2.ErrorInfo(reason="SOME_REASON", domain="tweet.starling")
    full = status_pb2.Status(code=grpc_code.value[0], message="says why")
    for detail in (info, violation):
        packed = any_pb2.Any()
        packed.Pack(detail)
        full.details.append(packed)

    async def refuse(request: Any, context: Any) -> Any:
        await context.abort_with_status(rpc_status.to_status(full))

    mesh.recorder.answers["/starling.tweet.v1.TweetService/PostTweet"] = refuse
    answer = await mesh.request("POST", "/v1/tweets", json={"content": "x"})
    body = error(answer, status, grpc_code.value[0])
    assert body["message"] == "says why"
    kinds = {detail["@type"].rpartition(".")[2]: detail for detail in body["details"]}
    assert kinds["ErrorInfo"]["reason"] == "SOME_REASON"
    assert kinds["BadRequest"]["field_violations"][0]["field"] == "content"
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert "grpc-status" not in answer.headers


async def test_a_service_that_stops_is_unavailable(mesh: Mesh) -> None:
    calls = []

    async def stops(request: Any, context: Any) -> Any:
        calls.append(context)
        await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")

    mesh.recorder.answers["/starling.tweet.v1.TweetService/PostTweet"] = stops
    answer = await mesh.request("POST", "/v1/tweets", json={"content": "x"})
    body = error(answer, 503, 14)
    assert body["details"][0]["reason"] == "UNAVAILABLE"
    assert answer.headers["retry-after"] == "1"
    assert len(calls) == 1
    mesh.recorder.answers["/starling.timeline.v1.TimelineService/GetHomeTimeline"] = stops
    error(await mesh.request("GET", HOME), 503, 14)
    assert len(calls) == 4  # safe to repeat, so it was repeated twice


@pytest.mark.parametrize(
    ("grpc_code", "status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, 503, "UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED"),
    ],
)
async def test_what_grpc_says_itself_gets_a_reason(
    mesh: Mesh, grpc_code: grpc.StatusCode, status: int, reason: str
) -> None:
    async def fail(request: Any, context: Any) -> Any:
        await context.abort(grpc_code, 'time is "over", {"details":[]} or so')

    mesh.recorder.answers["/starling.tweet.v1.TweetService/PostTweet"] = fail
    answer = await mesh.request("POST", "/v1/tweets", json={"content": "x"})
    body = error(answer, status, grpc_code.value[0])
    assert body["message"] == 'time is "over", {"details":[]} or so'
    [info] = body["details"]
    assert info["reason"] == reason


async def test_an_exceptions_text_does_not_get_out(mesh: Mesh) -> None:
    async def fail(request: Any, context: Any) -> Any:
        raise RuntimeError("the secret")

    mesh.recorder.answers["/starling.tweet.v1.TweetService/PostTweet"] = fail
    answer = await mesh.request("POST", "/v1/tweets", json={"content": "x"})
    assert error(answer, 500, 13)["message"] == "internal error"


async def test_answers_say_nothing_about_the_mesh(mesh: Mesh) -> None:
    for path, token in ((HOME, None), (HOME, ""), ("/nope", ""), ("/healthz", "")):
        answer = await mesh.request("GET", path, token=token)
        names = {"content-type", "content-length", "date", "x-request-id", "www-authenticate"}
        assert set(answer.headers) <= names | {"x-trace-id"}


async def test_documents_come_as_they_are(mesh: Mesh) -> None:
    script = b"x" * 2_000_000

    async def page(request: Any, context: Any) -> Any:
        return httpbody_pb2.HttpBody(content_type="text/javascript", data=script)

    mesh.recorder.answers["/starling.gateway.v1.DiscoveryService/GetDocs"] = page
    for path in ("/docs/", "/docs", "/docs/a.js"):
        answer = await mesh.request("GET", path, token="")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/javascript"
        assert answer.content == script


async def test_a_page_of_a_hundred_long_tweets_fits(mesh: Mesh) -> None:
    async def answer(request: Any, context: Any) -> Any:
        tweet = tweet_pb2.Tweet(content="🐦" * 280, media_ids=["m" * 64] * 4)
        return timeline_service_pb2.GetHomeTimelineResponse(tweets=[tweet] * 150)

    mesh.recorder.answers["/starling.timeline.v1.TimelineService/GetHomeTimeline"] = answer
    got = await mesh.request("GET", HOME)
    assert len(got.json()["tweets"]) == 150
