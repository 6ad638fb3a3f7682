"""Refresh tokens: opaque, good for one use, and revoked together when one is used twice.

A token is 48 bytes as base64url (64 characters, no padding, no spare bits: one spelling): the first 16 name
its family, the next 16 are its secret, the last 16 say by a key that it was issued here. Of what follows the
family only the SHA-256 is kept. What was never issued is refused and changes nothing.

Using a token rotates its family to a new one. A token of the family that is not the good one was used
before, by its owner or by a thief: nobody can tell, so the whole family is revoked (RFC 9700, section
4.14.2). That includes a second try after a lost answer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from gateway.account_store import AccountStore, Family
from gateway.reasons import REFRESH_TOKEN_INVALID

_FAMILY_BYTES, _SECRET_BYTES, _SEAL_BYTES = 16, 16, 16
_TOKEN_CHARS = 64


class RefreshTokens:
    """Starts, rotates and revokes families."""

    def __init__(self, store: AccountStore, key: bytes) -> None:
        """key: the same for all instances; with another one, all tokens are strange."""
        self._store = store
        self._key = key

    async def start(self, user_id: int, username: str) -> str:
        """The first token of a new sign-in."""
        family_id = secrets.token_bytes(_FAMILY_BYTES)
        secret = self._new_secret(family_id)
        await self._store.start_family(family_id, user_id, username, _hash(secret))
        return _spell(family_id, secret)

    async def check(self, token: str) -> Family:
        """The family of a token that is good now.

        Raises Unauthenticated (REFRESH_TOKEN_INVALID) otherwise, having revoked the family if there is one.
        """
        parts = self._parse(token)
        family = await self._store.family(parts[0]) if parts else None
        if parts is None or family is None or family.revoked:
            raise REFRESH_TOKEN_INVALID.error()
        if not hmac.compare_digest(_hash(parts[1]), family.token_hash):
            await self._store.revoke(family.family_id)
            raise REFRESH_TOKEN_INVALID.error()
        return family

    async def rotate(self, family: Family) -> str:
        """The next token in place of the one just checked. Raises like `check`, if another was first."""
        secret = self._new_secret(family.family_id)
        if not await self._store.rotate(family, _hash(secret)):
            await self._store.revoke(family.family_id)
            raise REFRESH_TOKEN_INVALID.error()
        return _spell(family.family_id, secret)

    async def revoke(self, token: str, user_id: int) -> None:
        """Revoke the token's family if it is this user's; otherwise nothing."""
        parts = self._parse(token)
        family = await self._store.family(parts[0]) if parts else None
        if family is not None and family.user_id == user_id and not family.revoked:
            await self._store.revoke(family.family_id)

    def _new_secret(self, family_id: bytes) -> bytes:
        secret = secrets.token_bytes(_SECRET_BYTES)
        return secret + self._seal(family_id, secret)

    def _seal(self, family_id: bytes, secret: bytes) -> bytes:
        said = b"refresh token" + family_id + secret
        return hmac.digest(self._key, said, "sha256")[:_SEAL_BYTES]

    def _parse(self, token: str) -> tuple[bytes, bytes] | None:
        """(family id, sealed secret), or None for anything that was not issued."""
        parts = _read(token)
        if parts is None:
            return None
        secret, seal = parts[1][:_SECRET_BYTES], parts[1][_SECRET_BYTES:]
        return parts if hmac.compare_digest(seal, self._seal(parts[0], secret)) else None


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _spell(family_id: bytes, secret: bytes) -> str:
    return base64.urlsafe_b64encode(family_id + secret).decode("ascii")


def _read(token: str) -> tuple[bytes, bytes] | None:
    """(family id, sealed secret), or None for anything that `_spell` does not give."""
    if len(token) != _TOKEN_CHARS or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    family_id, secret = raw[:_FAMILY_BYTES], raw[_FAMILY_BYTES:]
    return (family_id, secret) if _spell(family_id, secret) == token else None
