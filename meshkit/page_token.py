"""Page tokens: opaque, versioned, and checked, so that a client can neither read nor bend a cursor.

Layout before base64url: version (1 byte), position (two big-endian int64), HMAC-SHA256 truncated to 16
bytes. The MAC also covers the kind of list and its reader, which the token does not repeat: a token of
another list or another reader fails the same check. 33 bytes make 44 characters without padding or
spare bits, so one position has one spelling.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct

from meshkit.errors import InvalidArgument

_VERSION = 1
_POSITION = struct.Struct(">Bqq")
_MAC_BYTES = 16
_TOKEN_CHARS = 44


class PageTokens:
    """Makes and checks page tokens under one secret key, shared by all instances of a service."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a page token key needs at least 16 bytes")
        self._key = key

    def encode(self, kind: str, owner: int, position: tuple[int, int]) -> str:
        """The token after which the next page starts.

        `kind` names the list and whatever identifies it besides its reader (`followers:123`), `owner` is
        the reader's id, `position` two signed 64-bit integers, e.g. (ms, tweet id).
        """
        body = _POSITION.pack(_VERSION, *position)
        return base64.urlsafe_b64encode(body + self._mac(kind, owner, body)).decode("ascii")

    def decode(self, token: str, kind: str, owner: int, field: str = "cursor") -> tuple[int, int]:
        """The position in `token`. Raises InvalidArgument on `field` for anything not made for this list
        and this reader, whatever was changed."""
        raw = _unbase64(token)
        if raw is None or raw[0] != _VERSION:
            raise _refused(field)
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(kind, owner, body)):
            raise _refused(field)
        _, first, second = _POSITION.unpack(body)
        return first, second

    def _mac(self, kind: str, owner: int, body: bytes) -> bytes:
        name = kind.encode()
        message = b"starling.page_token" + struct.pack(">Hq", len(name), owner) + name + body
        return hmac.digest(self._key, message, "sha256")[:_MAC_BYTES]


def _unbase64(token: str) -> bytes | None:
    if len(token) != _TOKEN_CHARS or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # validate=True accepts the standard alphabet's "+" and "/" beside altchars on some versions, and
    # padding: only the spelling that encode() gives is taken.
    if base64.urlsafe_b64encode(raw) != token.encode("ascii"):
        return None
    return raw


def _refused(field: str) -> InvalidArgument:
    return InvalidArgument.field(field, "is not a page token of this list", "INVALID_CURSOR")
