"""The server and the channel to it, over a real unix socket: what every call passes through."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starling.tweet.v1 import tweet_service_pb2, tweet_service_pb2_grpc

from meshkit import deadline, identity, telemetry
from meshkit.channel import MeshChannel
from meshkit.config import MeshConfig
from meshkit.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    Reason,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from meshkit.server import MeshServer, serialized
from tests.conftest import until

NO_TWEET = Reason("TEST_NO_TWEET", "test.starling", NotFound, "No such tweet.")
Get = Callable[[tweet_service_pb2.GetTweetRequest], Awaitable[tweet_service_pb2.GetTweetResponse]]


class Tweets(tweet_service_pb2_grpc.TweetServiceServicer):
    """GetTweet does what the test says; all else is as generated."""

    def __init__(self, get: Get) -> None:
        self._get = get

    async def GetTweet(
        self, request: tweet_service_pb2.GetTweetRequest, context: Any
    ) -> tweet_service_pb2.GetTweetResponse:
        return await self._get(request)


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="mk"))
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def serving(
    get: Get, sockets: Path, **settings: Any
) -> AsyncIterator[tuple[tweet_service_pb2_grpc.TweetServiceStub, MeshServer, str]]:
    listen = f"unix:{sockets}/s/x.sock"
    config = MeshConfig(listen=listen, metrics_port=0, **settings)
    add = tweet_service_pb2_grpc.add_TweetServiceServicer_to_server
    server = MeshServer(config, [(add, Tweets(get))])  # type: ignore[abstract]
    await server.start()
    async with MeshChannel(listen) as channel:
        yield tweet_service_pb2_grpc.TweetServiceStub(channel), server, listen
    await server.stop(1)


def tweet_of(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
    response = tweet_service_pb2.GetTweetResponse()
    response.tweet.tweet_id = request.tweet_id
    return response


GET = tweet_service_pb2.GetTweetRequest(tweet_id=5)


async def test_messages_and_ready_bytes_are_answers(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        message = tweet_of(request)
        if request.tweet_id == 5:
            return message
        return serialized(tweet_service_pb2.GetTweetResponse, message.SerializeToString())

    async with serving(get, sockets) as (stub, _, _):
        assert (await stub.GetTweet(GET)).tweet.tweet_id == 5
        assert (
            await stub.GetTweet(tweet_service_pb2.GetTweetRequest(tweet_id=6))
        ).tweet.tweet_id == 6


async def test_domain_errors_arrive_as_they_were_raised(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        raise NO_TWEET.error("tweet 5 does not exist", tweet_id=5)

    async with serving(get, sockets) as (stub, _, _):
        with pytest.raises(NotFound, match="tweet 5 does not exist") as error:
            await stub.GetTweet(GET)
        assert (error.value.reason, error.value.domain) == ("TEST_NO_TWEET", "test.starling")
        assert error.value.metadata == {"tweet_id": "5"}


async def test_our_own_faults_tell_nothing(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        raise KeyError("secret of the store")

    async with (
        serving(get, sockets) as (stub, _, listen),
        grpc.aio.insecure_channel(listen) as plain,
    ):
        with pytest.raises(Internal):
            await stub.GetTweet(GET)
        with pytest.raises(grpc.aio.AioRpcError) as raw:
            await tweet_service_pb2_grpc.TweetServiceStub(plain).GetTweet(GET, timeout=5)
        assert raw.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in repr(raw.value)


async def test_validation_names_the_field(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        raise AssertionError("not reached")

    async with serving(get, sockets) as (stub, _, _):
        with pytest.raises(InvalidArgument) as error:
            await stub.GetTweet(tweet_service_pb2.GetTweetRequest(tweet_id=-1))
        assert [each.field for each in error.value.violations] == ["tweet_id"]
        assert error.value.violations[0].description
        with pytest.raises(InvalidArgument) as error:
            await stub.PostTweet(
                tweet_service_pb2.PostTweetRequest(content="x", media_ids=["ok", "not ok!"])
            )
        [bad] = [each for each in error.value.violations if each.field == "media_ids[1]"]
        assert bad.description == "must be 1 to 64 characters of [A-Za-z0-9_-]"


async def test_what_is_not_implemented_says_so(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        raise AssertionError("not reached")

    async with serving(get, sockets) as (stub, _, _):
        with pytest.raises(Unimplemented):
            await stub.DeleteTweet(tweet_service_pb2.DeleteTweetRequest(tweet_id=5))


async def test_identity_and_deadline_reach_the_handler_and_shrink(sockets: Path) -> None:
    seen: list[tuple[identity.Caller | None, float | None]] = []

    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        seen.append((identity.maybe_caller(), deadline.remaining()))
        return tweet_of(request)

    async with (
        serving(get, sockets) as (stub, _, listen),
        grpc.aio.insecure_channel(listen) as plain,
    ):
        identity.set_caller(identity.Caller(7, "ann"))
        with deadline.within(1.0):
            await stub.GetTweet(GET)
        identity.set_caller(None)
        await stub.GetTweet(GET, timeout=3)
        await tweet_service_pb2_grpc.TweetServiceStub(plain).GetTweet(GET)
    (caller, left), (nobody, three), (_, none_given) = seen
    assert caller == identity.Caller(7, "ann")
    assert nobody is None
    assert left is not None
    assert 0.8 < left < 1
    assert three is not None
    assert 2.8 < three < 3.1
    assert none_given is not None
    assert 9 < none_given < 10.1


async def test_calls_end_at_their_deadline(sockets: Path) -> None:
    ended: list[str] = []

    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return tweet_of(request)

    async with serving(get, sockets, default_deadline_s=0.3) as (stub, server, listen):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await stub.GetTweet(GET, timeout=0.2)
        async with grpc.aio.insecure_channel(listen) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as raw:
                await tweet_service_pb2_grpc.TweetServiceStub(plain).GetTweet(GET)
        assert raw.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - started < 20
        await until(lambda: server.in_flight == 0)
    assert ended == ["cancelled", "cancelled"]


async def test_past_the_limit_calls_are_refused_at_once(sockets: Path) -> None:
    gate = asyncio.Event()

    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        await gate.wait()
        return tweet_of(request)

    async with serving(get, sockets, max_in_flight=3) as (stub, server, _):
        calls = [asyncio.ensure_future(stub.GetTweet(GET)) for _ in range(3)]
        await until(lambda: server.in_flight == 3)
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(ResourceExhausted) as error:
                await stub.GetTweet(GET)
        assert time.monotonic() - started < 15
        assert error.value.retry_delay_s == 1.0
        gate.set()
        await asyncio.gather(*calls)
        for _ in range(10):
            await stub.GetTweet(GET)
        assert server.in_flight == 0


async def test_health_reflection_metrics_and_the_socket(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        return tweet_of(request)

    async with serving(get, sockets) as (stub, server, listen):
        path = Path(listen.removeprefix("unix:"))
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(path.parent).st_mode & 0o777 == 0o700
        async with grpc.aio.insecure_channel(listen) as plain:
            health: Any = health_pb2_grpc.HealthStub(plain)
            for name in ("", "starling.tweet.v1.TweetService"):
                asked = health_pb2.HealthCheckRequest(service=name)
                assert (
                    await health.Check(asked)
                ).status == health_pb2.HealthCheckResponse.NOT_SERVING
                await server.set_ready(True)
                assert (await health.Check(asked)).status == health_pb2.HealthCheckResponse.SERVING
                await server.set_ready(False)
            reflector: Any = reflection_pb2_grpc.ServerReflectionStub(plain)  # type: ignore[arg-type]
            listing = reflector.ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            )
            names = [
                each.name
                async for reply in listing
                for each in reply.list_services_response.service
            ]
            assert "starling.tweet.v1.TweetService" in names
        await stub.GetTweet(GET)
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text
        assert (
            'starling_rpc_calls_total{code="OK",method="starling.tweet.v1.TweetService/GetTweet"}'
            in text
        )
        with pytest.raises(OSError, match="in use"):
            await MeshServer(MeshConfig(listen=listen), []).start()


async def test_a_stale_socket_is_replaced(sockets: Path) -> None:
    import socket

    (sockets / "s").mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(sockets / "s" / "x.sock"))
    stale.close()

    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        return tweet_of(request)

    async with serving(get, sockets) as (stub, _, _):
        await stub.GetTweet(GET)


async def test_nobody_there_is_unavailable(sockets: Path) -> None:
    async with MeshChannel(f"unix:{sockets}/nobody.sock") as channel:
        with pytest.raises(Unavailable) as error:
            await tweet_service_pb2_grpc.TweetServiceStub(channel).GetTweet(GET)
    assert error.value.reason == "REMOTE_UNAVAILABLE"


@contextlib.contextmanager
def spans_of() -> Iterator[Callable[[], dict[str, ReadableSpan]]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.use_provider(provider)
    try:
        yield lambda: {
            f"{span.kind.name} {span.name}": span for span in exporter.get_finished_spans()
        }
    finally:
        telemetry.use_provider(None)


async def test_one_trace_from_client_to_handler_with_its_outcome(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        with telemetry.span("inside"):
            if request.tweet_id == 6:
                raise Unavailable("the store is away")
            if request.tweet_id == 7:
                raise NO_TWEET.error()
        return tweet_of(request)

    name = "starling.tweet.v1.TweetService/GetTweet"
    for tweet_id, server_status, client_status in (
        (5, StatusCode.UNSET, StatusCode.UNSET),
        (6, StatusCode.ERROR, StatusCode.ERROR),
        (7, StatusCode.UNSET, StatusCode.ERROR),
    ):
        with spans_of() as spans:
            async with serving(get, sockets) as (stub, _, _):
                with contextlib.suppress(Unavailable, NotFound), telemetry.span("root"):
                    await stub.GetTweet(tweet_service_pb2.GetTweetRequest(tweet_id=tweet_id))
            found = spans()
        root, client, server, inside = (
            found[key]
            for key in ("INTERNAL root", f"CLIENT {name}", f"SERVER {name}", "INTERNAL inside")
        )
        assert {span.context.trace_id for span in found.values() if span.context} == {
            root.context and root.context.trace_id
        }
        for child, parent in ((client, root), (server, client), (inside, server)):
            assert (child.parent and child.parent.span_id) == (
                parent.context and parent.context.span_id
            )
        assert server.status.status_code is server_status, tweet_id
        assert client.status.status_code is client_status, tweet_id


async def test_an_unsampled_trace_makes_no_spans_and_travels_on(sockets: Path) -> None:
    inside: list[str | None] = []

    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        inside.append(telemetry.traceparent())
        return tweet_of(request)

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    with spans_of() as spans:
        async with (
            serving(get, sockets) as (_, _, listen),
            grpc.aio.insecure_channel(listen) as plain,
        ):
            stub = tweet_service_pb2_grpc.TweetServiceStub(plain)
            await stub.GetTweet(GET, metadata=(("traceparent", parent),))
        assert spans() == {}
    assert inside == [parent]


async def test_the_status_details_are_readable_by_any_client(sockets: Path) -> None:
    async def get(request: tweet_service_pb2.GetTweetRequest) -> tweet_service_pb2.GetTweetResponse:
        raise InvalidArgument.field("cursor", "is wrong", "INVALID_CURSOR")

    async with serving(get, sockets) as (_, _, listen), grpc.aio.insecure_channel(listen) as plain:
        with pytest.raises(grpc.aio.AioRpcError) as raw:
            await tweet_service_pb2_grpc.TweetServiceStub(plain).GetTweet(GET)
        status = rpc_status.from_call(raw.value)  # type: ignore[arg-type]
        assert status is not None
        bad = error_details_pb2.BadRequest()
        assert status.details[1].Unpack(bad)
        assert bad.field_violations[0].field == "cursor"
