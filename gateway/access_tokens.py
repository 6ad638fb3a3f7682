"""Access tokens: JWTs signed with ES256, and the keys that verify them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from starling.gateway.v1.account_service_pb2 import JsonWebKey

_COORDINATE_BYTES = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A P-256 key and its name: the thumbprint of RFC 7638, so that a key always has the same."""

    private: ec.EllipticCurvePrivateKey
    public: JsonWebKey

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Raises ValueError for anything but an unencrypted P-256 private key."""
        private = load_pem_private_key(pem, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
            raise ValueError("not an EC P-256 private key")
        numbers = private.public_key().public_numbers()
        key = JsonWebKey(
            kty="EC",
            crv="P-256",
            x=_base64url(numbers.x.to_bytes(_COORDINATE_BYTES, "big")),
            y=_base64url(numbers.y.to_bytes(_COORDINATE_BYTES, "big")),
            use="sig",
            alg="ES256",
        )
        # RFC 7638, section 3.2: the required members only, by name, without spaces.
        members = {"crv": key.crv, "kty": key.kty, "x": key.x, "y": key.y}
        canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
        key.kid = _base64url(hashlib.sha256(canonical.encode()).digest())
        return cls(private, key)


def load_signing_keys(path: Path) -> list[SigningKey]:
    """The key of a PEM file, or of each `*.pem` in a directory, by file name; the first one signs.

    To rotate: put the new key behind, so that it is published; once every edge has fetched it, put it
    first; take the old one out when its last token has expired. Raises ValueError that names the file.
    """
    files = sorted(path.glob("*.pem")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"JWT_SIGNING_KEY_FILE: no *.pem in {path}")
    keys: list[SigningKey] = []
    for file in files:
        try:
            keys.append(SigningKey.from_pem(file.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"JWT_SIGNING_KEY_FILE: {file}: {error}") from error
    return keys


class AccessTokens:
    """Mints access tokens; `ttl_s` is their lifetime."""

    def __init__(
        self,
        keys: Sequence[SigningKey],
        *,
        issuer: str,
        audience: str,
        ttl_s: int,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._keys = list(keys)
        self._issuer = issuer
        self._audience = audience
        self._clock_s = clock_s
        self.ttl_s = ttl_s

    def mint(self, user_id: int, username: str) -> str:
        """A token whose subject is the user, from now on for `ttl_s`."""
        now = int(self._clock_s())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "username": username,
            "iat": now,
            "nbf": now,
            "exp": now + self.ttl_s,
            "jti": secrets.token_urlsafe(12),
        }
        signing = self._keys[0]
        headers = {"kid": signing.public.kid}
        return jwt.encode(claims, signing.private, algorithm="ES256", headers=headers)

    def public_keys(self) -> list[JsonWebKey]:
        """All keys that verify tokens of this mesh, the signing one first."""
        return [key.public for key in self._keys]


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
