"""The spans that real proxies report, and the context they pass on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starling.timeline.v1 import timeline_service_pb2

from envoy.spec import TracingSpec
from tests.conftest import until
from tests.integration.envoy_rig import Mesh, mesh_spec, new_directory, running

GET_HOME = "/starling.timeline.v1.TimelineService/GetHomeTimeline"
BATCH_GET_USERS = "/starling.graph.v1.GraphLookupService/BatchGetUsers"

Span = dict[str, Any]


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[int, list[Span]]]:
    """A port that takes spans as Zipkin does, and the spans it took."""
    spans: list[Span] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"transfer-encoding: chunked" in head
                body = b""
                while size := int(await reader.readline(), 16):
                    body += await reader.readexactly(size)
                    await reader.readline()
                await reader.readline()
                spans.extend(json.loads(body))
                writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], spans
    finally:
        server.close()


@asynccontextmanager
async def traced(sampling_percent: float) -> AsyncIterator[tuple[Mesh, list[Span]]]:
    """A mesh in which the home timeline asks graph_svc, passing the context on."""
    async with collector() as (port, spans), new_directory() as directory:
        tracing = TracingSpec("127.0.0.1", port, sampling_percent)
        async with running(mesh_spec(directory, tracing=tracing), directory) as mesh:

            async def home(request: Any, context: Any) -> Any:
                metadata = dict(context.invocation_metadata())
                passed = (("traceparent", metadata["traceparent"]),)
                async with mesh.outbound("timeline_svc") as channel:
                    call: Any = channel.unary_unary(BATCH_GET_USERS)
                    await call(b"", timeout=3, metadata=passed)
                return timeline_service_pb2.GetHomeTimelineResponse()

            mesh.recorder.answers[GET_HOME] = home
            yield mesh, spans


async def test_a_request_is_one_trace_through_all_proxies() -> None:
    async with traced(100.0) as (mesh, spans):
        client = "00-11111111111111111111111111111111-2222222222222222-01"
        answer = await mesh.request(
            "GET", "/v1/timeline/home?limit=1", headers={"traceparent": client}
        )
        trace_id = answer.headers["x-trace-id"]
        assert len(trace_id) == 32
        assert trace_id != "1" * 32, "a trace begins at the edge"

        def trace() -> list[Span]:
            return [span for span in spans if span["traceId"] == trace_id]

        def services() -> list[str]:
            return [span["localEndpoint"]["serviceName"] for span in trace()]

        await until(
            lambda: (
                {"edge", "timeline_svc.envoy", "graph_svc.envoy"} <= set(services())
                and services().count("timeline_svc.envoy") >= 2
            ),
            within_s=15,
            what="all spans",
        )
        ids = {span["id"] for span in trace()}
        roots = [span for span in trace() if span.get("parentId") not in ids]
        assert len(roots) == 1, [(s["localEndpoint"], s["name"], s.get("parentId")) for s in roots]
        assert roots[0]["name"] == "GET /v1/timeline/home"
        assert roots[0]["localEndpoint"]["serviceName"] == "edge"
        seen = mesh.recorder.last("GetHomeTimeline").metadata["traceparent"]
        assert isinstance(seen, str)
        assert seen.split("-")[1] == trace_id
        assert not [span for span in spans if "Health" in json.dumps(span)]


async def test_what_the_edge_does_not_sample_nobody_reports() -> None:
    async with traced(0.0) as (mesh, spans):
        for _ in range(5):
            assert (await mesh.request("GET", "/v1/timeline/home")).status_code == 200
        seen = mesh.recorder.last("GetHomeTimeline").metadata["traceparent"]
        assert isinstance(seen, str)
        assert seen.endswith("-00")
        await asyncio.sleep(6)  # proxies report every five seconds
        assert not spans
