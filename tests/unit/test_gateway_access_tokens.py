"""Access tokens as their verifiers see them, and the keys they find."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.json_format import MessageToDict

from gateway.access_tokens import AccessTokens, load_signing_keys


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_key(path: Path) -> None:
    path.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))


def tokens_of(path: Path, ttl_s: int = 900) -> AccessTokens:
    return AccessTokens(load_signing_keys(path), issuer="starling", audience="api", ttl_s=ttl_s)


def verifying_keys(tokens: AccessTokens) -> jwt.PyJWKSet:
    keys = [MessageToDict(key, preserving_proto_field_name=True) for key in tokens.public_keys()]
    return jwt.PyJWKSet.from_json(json.dumps({"keys": keys}))


def test_a_token_verifies_by_the_published_key_and_says_who(tmp_path: Path) -> None:
    write_key(tmp_path / "jwt.pem")
    tokens = tokens_of(tmp_path / "jwt.pem")
    token = tokens.mint(1580000000000000001, "ann")
    keys = verifying_keys(tokens)
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "ES256"
    claims = jwt.decode(
        token, keys[header["kid"]], algorithms=["ES256"], audience="api", issuer="starling"
    )
    assert claims["sub"] == "1580000000000000001"
    assert claims["username"] == "ann"
    assert claims["exp"] - claims["iat"] == 900
    assert (
        claims["jti"]
        != jwt.decode(tokens.mint(1, "ann"), options={"verify_signature": False})["jti"]
    )


def test_the_first_key_signs_and_all_are_published(tmp_path: Path) -> None:
    write_key(tmp_path / "b.pem")
    old = tokens_of(tmp_path).mint(1, "ann")
    write_key(tmp_path / "a.pem")
    rotated = tokens_of(tmp_path)
    new = rotated.mint(1, "ann")
    keys = verifying_keys(rotated)
    assert len(keys.keys) == 2
    kids = [jwt.get_unverified_header(token)["kid"] for token in (old, new)]
    assert kids[0] != kids[1] == rotated.public_keys()[0].kid
    for token, kid in zip((old, new), kids, strict=True):
        jwt.decode(token, keys[kid], algorithms=["ES256"], audience="api")


def test_a_key_keeps_its_name_the_thumbprint_of_rfc_7638(tmp_path: Path) -> None:
    write_key(tmp_path / "jwt.pem")
    (first,), (second,) = (load_signing_keys(tmp_path / "jwt.pem") for _ in range(2))
    assert first.public.kid == second.public.kid
    assert len(first.public.kid) == 43
    assert (
        first.public.kid
        == jwt.PyJWK(MessageToDict(first.public, preserving_proto_field_name=True)).key_id
    )


@pytest.mark.parametrize("content", [b"", b"no key", pem(rsa.generate_private_key(65537, 2048))])
def test_what_is_no_p256_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jwt.pem").write_bytes(content)
    for path in (tmp_path, tmp_path / "jwt.pem"):
        with pytest.raises(ValueError, match=r"JWT_SIGNING_KEY_FILE: .*jwt\.pem"):
            load_signing_keys(path)
    with pytest.raises(ValueError, match="other"):
        load_signing_keys(tmp_path / "other")
