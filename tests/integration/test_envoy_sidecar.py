"""What real sidecars let in and out, and what they do when a service is away."""

import asyncio
import contextlib
import socket
import stat
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status
from starling.graph.v1 import graph_lookup_service_pb2
from starling.tweet.v1 import tweet_service_pb2

from envoy import policy
from tests.conftest import until
from tests.integration.envoy_rig import SERVICES, Mesh, mesh_spec, new_directory, run_envoy, running

CALLERS = ("edge", "operator", *SERVICES)
BATCH_GET_USERS = "/starling.graph.v1.GraphLookupService/BatchGetUsers"
POST_TWEET = "/starling.tweet.v1.TweetService/PostTweet"
GET_TWEET = "/starling.tweet.v1.TweetService/GetTweet"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_mesh() -> AsyncIterator[Mesh]:
    async with new_directory() as directory, running(mesh_spec(directory), directory) as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Mesh:
    shared_mesh.recorder.reset()
    return shared_mesh


async def code(channel: grpc.aio.Channel, path: str, request: bytes = b"", **options: Any) -> Any:
    """The status code of a call."""
    call: Any = channel.unary_unary(path)
    try:
        await call(request, timeout=options.pop("timeout", 5), **options)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_each_method_takes_calls_of_those_who_were_granted_it_and_no_other(
    mesh: Mesh,
) -> None:
    for caller in CALLERS:
        for name in SERVICES[:-1]:
            async with mesh.inbound(name, caller) as channel:
                for method in policy.owned_by(mesh.api, name):
                    granted = caller in policy.callers_of(method)
                    expected = "OK" if granted else "PERMISSION_DENIED"
                    assert (await code(channel, method.path)).name == expected, (caller, method)


async def test_health_is_for_those_who_call_and_reflection_for_the_operator(mesh: Mesh) -> None:
    async with mesh.inbound("graph_svc", "gateway") as channel:
        assert await code(channel, policy.HEALTH) == grpc.StatusCode.OK
        assert await code(channel, policy.REFLECTION[0]) == grpc.StatusCode.PERMISSION_DENIED
    async with mesh.inbound("graph_svc", "tweet_svc") as channel:
        assert await code(channel, policy.HEALTH) == grpc.StatusCode.PERMISSION_DENIED
    async with mesh.inbound("graph_svc", "operator") as channel:
        assert await code(channel, "/no.such.Service/Method") == grpc.StatusCode.PERMISSION_DENIED


async def test_identity_travels_with_the_call(mesh: Mesh) -> None:
    metadata = (("x-starling-user-id", "42"), ("x-starling-username", "bob"))
    async with mesh.outbound("timeline_svc") as channel:
        request = graph_lookup_service_pb2.BatchGetUsersRequest(user_ids=[1]).SerializeToString()
        call: Any = channel.unary_unary(BATCH_GET_USERS)
        await call(request, timeout=3, metadata=metadata)
    seen = mesh.recorder.last("BatchGetUsers")
    assert seen.metadata["x-starling-user-id"] == "42"
    assert seen.time_remaining_s is not None
    assert 2 < seen.time_remaining_s < 3.1  # gRPC rounds up
    assert "x-forwarded-client-cert" not in seen.metadata


async def test_a_service_calls_whom_it_may_and_no_other(mesh: Mesh) -> None:
    for name in SERVICES:
        async with mesh.outbound(name) as channel:
            for method in mesh.api.methods:
                granted = name in policy.callers_of(method)
                expected = "OK" if granted else "UNIMPLEMENTED"
                assert (await code(channel, method.path)).name == expected, (name, method.path)


async def test_the_outbound_socket_is_its_users_alone(mesh: Mesh) -> None:
    for service in mesh.spec.services:
        assert stat.S_IMODE(service.outbound_socket.stat().st_mode) == 0o600


async def test_strangers_cannot_connect(mesh: Mesh) -> None:
    port = mesh.spec.instances("tweet_svc")[0].inbound_port
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await code(channel, GET_TWEET, timeout=2) == grpc.StatusCode.UNAVAILABLE
    public = grpc.ssl_channel_credentials(mesh.spec.ca.read_bytes())
    options = [("grpc.ssl_target_name_override", "tweet_svc")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", public, options) as channel:
        assert await code(channel, GET_TWEET, timeout=2) == grpc.StatusCode.UNAVAILABLE
    pair = mesh.spec.edge.server_certificate  # of the same CA, without an id of the mesh
    mine = grpc.ssl_channel_credentials(
        mesh.spec.ca.read_bytes(), pair.key.read_bytes(), pair.chain.read_bytes()
    )
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", mine, options) as channel:
        assert await code(channel, GET_TWEET, timeout=2) == grpc.StatusCode.UNAVAILABLE


async def test_a_call_ends_at_its_deadline(mesh: Mesh) -> None:
    async def slow(request: Any, context: Any) -> Any:
        await asyncio.sleep(60)

    mesh.recorder.answers[BATCH_GET_USERS] = slow
    async with mesh.outbound("timeline_svc") as channel:
        started = time.monotonic()
        assert await code(channel, BATCH_GET_USERS, timeout=0.3) == (
            grpc.StatusCode.DEADLINE_EXCEEDED
        )
        assert time.monotonic() - started < 20


async def test_a_service_that_is_gone_is_reported_at_once_and_found_when_it_is_back(
    mesh: Mesh,
) -> None:
    await mesh.services["graph_svc"].stop()
    try:
        async with mesh.outbound("gateway") as channel:
            call: Any = channel.unary_unary(BATCH_GET_USERS)
            started = time.monotonic()
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call(b"", timeout=30)
            assert time.monotonic() - started < 15
            assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "upstream" not in (failed.value.details() or "")
            status = rpc_status.from_call(failed.value)  # type: ignore[arg-type]
            assert status is not None
            info = error_details_pb2.ErrorInfo()
            assert any(d.Unpack(info) for d in status.details)
            assert info.reason == "SERVICE_UNREACHABLE"
        answer = await mesh.request("GET", "/v1/users/5")
        assert answer.status_code == 503
        assert answer.json()["code"] == 14
        assert answer.json()["details"]
        assert "upstream" not in answer.text
        assert answer.headers["retry-after"] == "1"
        assert "x-starling-not-sent" not in answer.headers
    finally:
        await mesh.services["graph_svc"].start()

    async def served() -> bool:
        return (await mesh.request("GET", "/v1/users/5")).status_code == 200

    await until(served, what="the service that is back")


async def test_a_service_that_does_not_serve_gets_no_calls(mesh: Mesh) -> None:
    service = mesh.services["tweet_svc"]
    await service.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    try:

        async def refused() -> bool:
            return (await mesh.request("GET", "/v1/tweets/5")).status_code == 503

        await until(refused, what="the word that it does not serve")
    finally:
        await service.health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def served() -> bool:
        return (await mesh.request("GET", "/v1/tweets/5")).status_code == 200

    await until(served, what="the word that it serves")


async def test_the_edge_answers_when_a_service_does_not(mesh: Mesh) -> None:
    async def never(request: Any, context: Any) -> Any:
        await asyncio.sleep(60)

    mesh.recorder.answers[GET_TWEET] = never
    started = time.monotonic()
    answer = await mesh.request("GET", "/v1/tweets/5", timeout=50)
    assert 9 < time.monotonic() - started < 40
    assert answer.status_code == 504
    assert answer.json()["code"] == 4
    assert answer.headers["content-type"] == "application/json"


@contextlib.asynccontextmanager
async def two_tweet_services() -> AsyncIterator[Mesh]:
    """Two instances of tweet_svc, both known to the edge."""
    instances = (*SERVICES, "tweet_svc-2")
    async with (
        new_directory() as directory,
        running(mesh_spec(directory, instances), directory) as mesh,
    ):

        async def both() -> bool:
            await mesh.request("GET", "/v1/tweets/5")
            return len({call.instance for call in mesh.recorder.calls}) == 2

        await until(both, what="calls to both instances")
        mesh.recorder.reset()
        yield mesh


async def test_with_two_instances_the_loss_of_one_is_not_noticed() -> None:
    async with two_tweet_services() as mesh:
        await mesh.services["tweet_svc-2"].stop()
        reads = [mesh.request("GET", "/v1/tweets/5") for _ in range(20)]
        posts = [mesh.request("POST", "/v1/tweets", json={"content": "x"}) for _ in range(20)]
        answers = await asyncio.gather(*reads, *posts)
        assert [a.status_code for a in answers] == [200] * 40, "a post may go elsewhere, unsent"
        mesh.recorder.reset()
        await mesh.services["tweet_svc-2"].start()

        async def is_back() -> bool:
            await mesh.request("GET", "/v1/tweets/5")
            return any(call.instance == "tweet_svc-2" for call in mesh.recorder.calls)

        # Not before: for a moment there would be nobody.
        await until(is_back, within_s=20, what="the calls to the one that came back")
        await mesh.envoys["tweet_svc.envoy"].stop()

        async def only_the_other() -> bool:
            answers = [await mesh.request("GET", "/v1/tweets/5") for _ in range(20)]
            return [a.status_code for a in answers] == [200] * 20

        assert await only_the_other()


async def test_what_was_sent_is_sent_again_only_if_that_is_safe() -> None:
    async with two_tweet_services() as mesh:

        async def unavailable(request: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "try later")

        mesh.recorder.answers[POST_TWEET] = unavailable
        mesh.recorder.answers[GET_TWEET] = unavailable
        assert (await mesh.request("GET", "/v1/tweets/5")).status_code == 503
        reads = [c for c in mesh.recorder.calls if c.path == GET_TWEET]
        assert len(reads) == 3
        assert len({c.instance for c in reads[:2]}) == 2, "another instance is asked"
        post = await mesh.request("POST", "/v1/tweets", json={"content": "x"})
        assert post.status_code == 503
        assert len([c for c in mesh.recorder.calls if c.path == POST_TWEET]) == 1


async def test_a_socket_left_behind_is_no_obstacle(mesh: Mesh) -> None:
    """A service that was killed leaves its socket: nobody listens there."""
    await mesh.services["tweet_svc"].stop()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(mesh.spec.instances("tweet_svc")[0].socket))
    left.close()
    try:
        answer = await mesh.request("POST", "/v1/tweets", json={"content": "x"})
        assert answer.status_code == 503
    finally:
        await mesh.services["tweet_svc"].start()

    async def served() -> bool:
        body = tweet_service_pb2.PostTweetRequest(content="x")
        answer = await mesh.request("POST", "/v1/tweets", json={"content": body.content})
        return answer.status_code == 200

    await until(served, what="the service that is back")


async def test_a_sidecar_that_was_killed_is_back_at_its_addresses(mesh: Mesh) -> None:
    """Its sockets are left behind by kill -9."""
    name = "timeline_svc.envoy"
    killed = mesh.envoys[name]
    await killed.stop()
    answer = await mesh.request("GET", "/v1/timeline/home")
    assert answer.status_code == 503
    assert "upstream" not in answer.text
    again = await run_envoy(name, killed.admin_port, mesh.directory / "envoy" / f"{name}.json")
    killed.process = again.process
    await until(again.ready, what="the sidecar")

    async def served() -> bool:
        return (await mesh.request("GET", "/v1/timeline/home")).status_code == 200

    await until(served, what="the way through the sidecar")
    async with mesh.outbound("timeline_svc") as channel:
        assert await code(channel, BATCH_GET_USERS) == grpc.StatusCode.OK
