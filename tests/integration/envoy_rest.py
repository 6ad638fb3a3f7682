"""The edge's answers, read: errors in their one form, and bytes as they are."""

import asyncio
import ssl
from typing import Any

from tests.integration.envoy_rig import Mesh


def error(answer: Any, status: int, code: int) -> dict[str, Any]:
    """The body of `answer`, having checked its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert list(body) == ["code", "message", "details"]
    assert body["code"] == code
    assert body["message"]
    return body


async def raw(mesh: Mesh, request: str, context: ssl.SSLContext | None = None) -> str:
    """What the edge answers to `request`, byte for byte, until it closes the connection."""
    reader, writer = await asyncio.open_connection(
        "localhost", mesh.spec.edge.port, ssl=context or mesh.trusting()
    )
    try:
        writer.write(request.encode())
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()
    return answer.decode()
