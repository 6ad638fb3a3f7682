"""The API's own documentation: its OpenAPI document, and the files of the explorer under /docs/.

All are read once and kept in memory, plain and compressed, as answers that are serialized already.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.api import httpbody_pb2
from swagger_ui_bundle import swagger_ui_path

from meshkit.errors import NotFound, Reason
from meshkit.server import serialized

PAGE_NOT_FOUND = Reason(
    "PAGE_NOT_FOUND", "gateway.starling", NotFound, "The explorer has no file of this name."
)

DEFAULT_TWEET_MAX_CHARS = 140

_HERE = Path(__file__).parent
_OWN = _HERE / "docs_assets"
_SWAGGER_UI = Path(str(swagger_ui_path))
_JSON = "application/json"
_HTML = "text/html; charset=utf-8"
_CSS = "text/css; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"
# Name under /docs/ → where it is, its media type.
_FILES = {
    "": (_OWN / "index.html", _HTML),
    "explorer.js": (_OWN / "explorer.js", _SCRIPT),
    "explorer.css": (_OWN / "explorer.css", _CSS),
    "starling.svg": (_OWN / "starling.svg", "image/svg+xml"),
    "swagger-ui-bundle.js": (_SWAGGER_UI / "swagger-ui-bundle.js", _SCRIPT),
    "swagger-ui.css": (_SWAGGER_UI / "swagger-ui.css", _CSS),
}
# New after every release of the gateway: a browser asks again, and gets a few hundred kilobytes at most.
_HEADERS = (
    ("cache-control", "no-cache"),
    ("x-content-type-options", "nosniff"),
    ("vary", "accept-encoding"),
)

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is answered: serialized HttpBody messages of its plain and its gzipped bytes."""

    plain: bytes
    gzipped: bytes

    @classmethod
    def of(cls, media_type: str, data: bytes) -> Asset:
        """From the file's own bytes."""
        # mtime=0: the same bytes from every instance.
        squeezed = gzip.compress(data, mtime=0)
        return cls(
            httpbody_pb2.HttpBody(content_type=media_type, data=data).SerializeToString(),
            httpbody_pb2.HttpBody(content_type=media_type, data=squeezed).SerializeToString(),
        )

    async def send(self, context: Context) -> httpbody_pb2.HttpBody:
        """The answer to `context`'s call, gzipped when the client takes that."""
        if _takes_gzip(context):
            await context.send_initial_metadata((*_HEADERS, ("content-encoding", "gzip")))
            return serialized(httpbody_pb2.HttpBody, self.gzipped)
        await context.send_initial_metadata(_HEADERS)
        return serialized(httpbody_pb2.HttpBody, self.plain)


class Documentation:
    """Answers GetOpenApi and GetDocs."""

    def __init__(self, tweet_max_chars: int = DEFAULT_TWEET_MAX_CHARS) -> None:
        """Read the files. `tweet_max_chars` is the limit the document names for a tweet's content."""
        self._open_api = Asset.of(_JSON, open_api(tweet_max_chars))
        self._files = {
            name: Asset.of(media_type, path.read_bytes())
            for name, (path, media_type) in _FILES.items()
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


def _takes_gzip(context: Context) -> bool:
    for key, value in context.invocation_metadata() or ():
        if key == "accept-encoding" and isinstance(value, str):
            return any(_accepts(part) for part in value.split(","))
    return False


def _accepts(coding: str) -> bool:
    name, _, quality = coding.strip().partition(";")
    return name.strip().lower() == "gzip" and quality.replace(" ", "") not in ("q=0", "q=0.0")
