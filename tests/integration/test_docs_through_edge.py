"""The API document and the explorer's files as a browser receives them: through a real edge and sidecar."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from google.api import httpbody_pb2
from google.protobuf.message import Message
from starling.gateway.v1 import account_service_pb2 as pb

from gateway.documentation import Documentation
from gateway.openapi.generate import OUTPUT
from tests.integration.envoy_rig import Mesh, mesh_spec, new_directory, running


@pytest.fixture(scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with new_directory() as directory, running(mesh_spec(directory), directory) as found:
        documentation = Documentation()

        async def document(request: Message, context: Any) -> Message:
            return whole(await documentation.open_api(context))

        async def file(request: Message, context: Any) -> Message:
            assert isinstance(request, pb.GetDocsRequest)
            return whole(await documentation.page(request.file, context))

        service = "/starling.gateway.v1.DiscoveryService"
        found.recorder.answers[f"{service}/GetOpenApi"] = document
        found.recorder.answers[f"{service}/GetDocs"] = file
        yield found


def whole(answer: object) -> Message:
    """The answer is serialized already, and the rig serializes it again."""
    assert isinstance(answer, bytes)
    body: Message = httpbody_pb2.HttpBody()
    body.ParseFromString(answer)
    return body


async def get(mesh: Mesh, path: str) -> httpx.Response:
    """Without a token."""
    return await mesh.request("GET", path, token="")


async def test_the_document_arrives_as_it_is(mesh: Mesh) -> None:
    answer = await get(mesh, "/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == OUTPUT.read_bytes()


@pytest.mark.parametrize(
    ("path", "content_type", "least_bytes"),
    [
        ("/docs/", "text/html; charset=utf-8", 1_000),
        ("/docs", "text/html; charset=utf-8", 1_000),
        ("/docs/explorer.js", "text/javascript; charset=utf-8", 1_000),
        ("/docs/explorer.css", "text/css; charset=utf-8", 1_000),
        ("/docs/starling.svg", "image/svg+xml", 200),
        ("/docs/swagger-ui.css", "text/css; charset=utf-8", 100_000),
        ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", 1_000_000),
    ],
)
async def test_every_file_arrives_whole(
    mesh: Mesh, path: str, content_type: str, least_bytes: int
) -> None:
    answer = await get(mesh, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type
    assert len(answer.content) >= least_bytes
    assert "cache-control" in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
