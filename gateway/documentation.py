"""The API's own documentation: its OpenAPI document, and the files of the explorer under /docs/.

All are read once and kept in memory as answers that are serialized already.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.api import httpbody_pb2
from swagger_ui_bundle import swagger_ui_path

from gateway.reasons import PAGE_NOT_FOUND
from meshkit.server import serialized

DEFAULT_TWEET_MAX_CHARS = 140

_HERE = Path(__file__).parent
_OWN = _HERE / "docs_assets"
_SWAGGER_UI = Path(str(swagger_ui_path))
_JSON = "application/json"
_HTML = "text/html; charset=utf-8"
_CSS = "text/css; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"
# Ours may be new with every release; Swagger UI's are large and change with its version alone.
_ASK_AGAIN = "no-cache"
_KEEP = "public, max-age=86400"

Context = grpc.aio.ServicerContext[Any, Any]


class _File(NamedTuple):
    """Where a file is, its media type, and how long browsers may keep it."""

    path: Path
    media_type: str
    caching: str


_PAGE = _File(_OWN / "index.html", _HTML, _ASK_AGAIN)
# By name under /docs/.
_FILES = {
    "": _PAGE,
    "index.html": _PAGE,
    "explorer.js": _File(_OWN / "explorer.js", _SCRIPT, _ASK_AGAIN),
    "explorer.css": _File(_OWN / "explorer.css", _CSS, _ASK_AGAIN),
    "starling.svg": _File(_OWN / "starling.svg", "image/svg+xml", _ASK_AGAIN),
    "swagger-ui-bundle.js": _File(_SWAGGER_UI / "swagger-ui-bundle.js", _SCRIPT, _KEEP),
    "swagger-ui.css": _File(_SWAGGER_UI / "swagger-ui.css", _CSS, _KEEP),
}


class _Asset:
    """One file as it is answered."""

    def __init__(self, media_type: str, data: bytes, caching: str) -> None:
        self._headers = (("cache-control", caching), ("x-content-type-options", "nosniff"))
        body = httpbody_pb2.HttpBody(content_type=media_type, data=data)
        self._body = serialized(httpbody_pb2.HttpBody, body.SerializeToString())

    async def send(self, context: Context) -> httpbody_pb2.HttpBody:
        """The answer to `context`'s call."""
        await context.send_initial_metadata(self._headers)
        return self._body


class Documentation:
    """Answers GetOpenApi and GetDocs."""

    def __init__(self, tweet_max_chars: int = DEFAULT_TWEET_MAX_CHARS) -> None:
        """Read the files. `tweet_max_chars` is the limit the document names for a tweet's content."""
        self._open_api = _Asset(_JSON, open_api(tweet_max_chars), _ASK_AGAIN)
        self._files = {
            name: _Asset(file.media_type, file.path.read_bytes(), file.caching)
            for name, file in _FILES.items()
        }

    async def open_api(self, context: Context) -> httpbody_pb2.HttpBody:
        """The OpenAPI 3.1 document, as JSON."""
        return await self._open_api.send(context)

    async def page(self, file: str, context: Context) -> httpbody_pb2.HttpBody:
        """A file of the explorer, "" for its page. Raises PAGE_NOT_FOUND."""
        asset = self._files.get(file)
        if asset is None:
            raise PAGE_NOT_FOUND.error(file=file)
        return await asset.send(context)


def open_api(tweet_max_chars: int = DEFAULT_TWEET_MAX_CHARS) -> bytes:
    """The document as it is served: the generated one, with this mesh's own limit of a tweet."""
    text = (_HERE / "openapi" / "openapi.json").read_bytes()
    if tweet_max_chars == DEFAULT_TWEET_MAX_CHARS:
        return text
    document = json.loads(text)
    content = document["components"]["schemas"]["PostTweetRequest"]["properties"]["content"]
    content["maxLength"] = tweet_max_chars
    content["description"] = content["description"].replace(
        f"{DEFAULT_TWEET_MAX_CHARS} Unicode", f"{tweet_max_chars} Unicode"
    )
    return json.dumps(document, indent=2, ensure_ascii=False).encode()
