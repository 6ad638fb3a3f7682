"""What the gateway answers at /openapi.json and /docs/: bytes, media types, and nothing from elsewhere."""

import json
import re
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.api import httpbody_pb2
from starling.gateway.v1 import account_service_pb2 as pb
from starling.gateway.v1 import account_service_pb2_grpc as stubs

from gateway.access_tokens import AccessTokens, SigningKey
from gateway.discovery import Discovery
from gateway.documentation import Documentation, open_api
from gateway.openapi.generate import OUTPUT
from gateway.reasons import PAGE_NOT_FOUND
from meshkit.config import MeshConfig
from meshkit.server import MeshServer

Body: TypeAlias = httpbody_pb2.HttpBody
Stub: TypeAlias = stubs.DiscoveryServiceStub
MESSAGE_LIMIT_BYTES = 4 << 20


@pytest.fixture(scope="module")
async def stub() -> AsyncIterator[Stub]:
    keys = AccessTokens(
        [SigningKey(ec.generate_private_key(ec.SECP256R1()), pb.JsonWebKey())],
        issuer="starling",
        audience="starling-api",
        ttl_s=900,
    )
    discovery = Discovery(keys, Documentation())
    config = MeshConfig(service_instance="gateway", listen="127.0.0.1:0")
    server = MeshServer(config, [(stubs.add_DiscoveryServiceServicer_to_server, discovery)])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield stubs.DiscoveryServiceStub(channel)
    await server.stop(0)


async def page(stub: Stub, file: str) -> Body:
    answer: Body = await stub.GetDocs(pb.GetDocsRequest(file=file))
    return answer


async def test_the_document_is_the_one_checked_in(stub: Stub) -> None:
    answer = await stub.GetOpenApi(pb.GetOpenApiRequest())
    assert answer.content_type == "application/json"
    assert answer.data == OUTPUT.read_bytes()


@pytest.mark.parametrize(
    ("file", "content_type", "start"),
    [
        ("", "text/html; charset=utf-8", b"<!doctype html>"),
        ("explorer.js", "text/javascript; charset=utf-8", b"//"),
        ("explorer.css", "text/css; charset=utf-8", b":root"),
        ("starling.svg", "image/svg+xml", b"<svg"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8", b"/*!"),
        ("swagger-ui.css", "text/css; charset=utf-8", b".swagger-ui"),
    ],
)
async def test_files_and_their_media_types(
    stub: Stub, file: str, content_type: str, start: bytes
) -> None:
    answer = await page(stub, file)
    assert answer.content_type == content_type
    assert answer.data.startswith(start)
    assert len(answer.data) < MESSAGE_LIMIT_BYTES


@pytest.mark.parametrize(
    "file", ["nothing.js", "../documentation.py", "index.html/", "__init__.py"]
)
async def test_no_other_file_is_served(stub: Stub, file: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await page(stub, file)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == PAGE_NOT_FOUND.meaning


async def test_the_page_needs_nothing_from_elsewhere(
    stub: Stub,
) -> None:
    html = (await page(stub, "")).data.decode()
    linked = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert "/docs/swagger-ui-bundle.js" in linked
    for address in linked:
        if address == "/openapi.json":
            continue
        assert address.startswith("/docs/"), address
        assert (await page(stub, address.removeprefix("/docs/"))).data
    own = html + "".join(
        [(await page(stub, file)).data.decode() for file in ("explorer.js", "explorer.css")]
    )
    assert not re.search(r"https?://|@import|url\(", own)
    assert "default-src 'none'" in html
    css = (await page(stub, "swagger-ui.css")).data.decode()
    assert not re.search(r"url\((?!['\"]?data:)", css)


async def test_the_page_speaks_to_calls_that_exist(
    stub: Stub,
) -> None:
    script = (await page(stub, "explorer.js")).data.decode()
    document = json.loads(OUTPUT.read_text(encoding="utf-8"))
    called = set(re.findall(r'"(/v1/[^"]+)"', script))
    assert called == {"/v1/users", "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/logout"}
    assert called <= set(document["paths"])
    scheme = re.search(r'SCHEME = "(\w+)"', script)
    assert scheme is not None
    assert set(document["components"]["securitySchemes"]) == {scheme[1]}


def test_the_document_names_the_meshs_own_limit_of_a_tweet() -> None:
    document = json.loads(open_api(280))
    content = document["components"]["schemas"]["PostTweetRequest"]["properties"]["content"]
    assert content["maxLength"] == 280
    assert "1 to 280 Unicode code points" in content["description"]
    assert open_api() == OUTPUT.read_bytes()
