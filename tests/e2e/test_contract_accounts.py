"""Registering, login, refresh, logout, and the tokens themselves."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from .rest import PASSWORD, Answer, Person, Rest, answer_of, refused, violations
from .shapes import check_created_by, check_signed_in

Register = Callable[[int], list[Person]]
INVALID_REFRESH = "REFRESH_TOKEN_INVALID"


def refresh(rest: Rest, token: str) -> Answer:
    return rest.call("POST", "/v1/auth/refresh", json={"refresh_token": token})


def refuse_refresh(rest: Rest, token: str) -> None:
    answer = rest.raw("POST", "/v1/auth/refresh", json={"refresh_token": token})
    refused(answer, 401, INVALID_REFRESH)


def body(**changed: Any) -> Answer:
    """A registration; None leaves a field out."""
    whole = {
        "username": f"a_{secrets.token_hex(6)}",
        "display_name": "Somebody",
        "password": PASSWORD,
        **changed,
    }
    return {name: value for name, value in whole.items() if value is not None}


def test_registering_signs_in(rest: Rest) -> None:
    sent = body(username=f"Mixed_{secrets.token_hex(5).upper()}", bio="  two\nlines  ")
    answer = rest.call("POST", "/v1/users", json=sent)
    check_signed_in(answer)
    user = answer["user"]
    check_created_by(user["user_id"], user["created_at"])
    assert user["username"] == sent["username"].lower()
    assert user["display_name"] == "Somebody"
    assert user["bio"] == "two\nlines"
    assert (user["followers_count"], user["following_count"], user["tweets_count"]) == (0, 0, 0)
    person = rest.person(answer)
    assert person.user() == user
    assert person.home() == []


def test_a_bio_may_be_left_out(rest: Rest) -> None:
    assert rest.call("POST", "/v1/users", json=body())["user"]["bio"] == ""


def test_text_is_trimmed_and_composed_before_it_is_counted(rest: Rest) -> None:
    sent = body(display_name=" " + "e\u0301" * 50 + " ", bio="e\u0301" * 160)
    user = rest.call("POST", "/v1/users", json=sent)["user"]
    assert user["display_name"] == "\u00e9" * 50
    assert user["bio"] == "\u00e9" * 160


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", None),
        ("username", "ab"),
        ("username", "x" * 31),
        ("username", "no-dashes"),
        ("username", "ünïcode"),
        ("username", "new_line\n"),
        ("username", " padded_"),
        ("display_name", None),
        ("display_name", ""),
        ("display_name", " \n "),
        ("display_name", "x" * 51),
        ("display_name", "a\nb"),
        ("display_name", "bell\u0007"),
        ("display_name", "next\u0085line"),
        ("password", None),
        ("password", "x" * 7),
        ("password", "x" * 129),
        ("bio", "x" * 161),
        ("bio", "tab\there"),
        ("bio", "null\u0000"),
    ],
)
def test_a_bad_field_of_a_registration_is_named(rest: Rest, field: str, value: str | None) -> None:
    answer = rest.raw("POST", "/v1/users", json=body(**{field: value}))
    refused(answer, 400, "INVALID_FIELD", field)


def test_every_bad_field_is_named_at_once(rest: Rest) -> None:
    error = refused(rest.raw("POST", "/v1/users", json={}), 400)
    assert set(violations(error)) == {"username", "display_name", "password"}


@pytest.mark.parametrize("length", [3, 30])
def test_usernames_at_the_limits(rest: Rest, length: int) -> None:
    username = "".join(
        secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789_") for _ in range(length)
    )
    answer = rest.raw("POST", "/v1/users", json=body(username=username))
    assert answer.status_code == 200 or (length == 3 and answer.status_code == 409)


@pytest.mark.parametrize("password", ["x" * 8, "x" * 128, "\U0001f511" * 128, "  spaces stay  "])
def test_passwords_at_the_limits(rest: Rest, password: str) -> None:
    sent = body(password=password)
    rest.call("POST", "/v1/users", json=sent)
    login = {"username": sent["username"], "password": password}
    check_signed_in(rest.call("POST", "/v1/auth/login", json=login))


def test_a_username_is_unique_in_any_case(rest: Rest, register: Register) -> None:
    (ada,) = register(1)
    for username in (ada.username, ada.username.upper()):
        answer = rest.raw("POST", "/v1/users", json=body(username=username))
        refused(answer, 409, "USERNAME_TAKEN")


def test_login_in_any_case(rest: Rest, register: Register) -> None:
    (ada,) = register(1)
    sent = {"username": ada.username.upper(), "password": PASSWORD}
    answer = rest.call("POST", "/v1/auth/login", json=sent)
    check_signed_in(answer)
    assert answer["user"] == ada.user()
    assert answer["refresh_token"] != ada.refresh_token


def test_a_wrong_password_and_an_unknown_user_are_told_alike(
    rest: Rest, register: Register
) -> None:
    (ada,) = register(1)
    answers = [
        rest.raw("POST", "/v1/auth/login", json={"username": username, "password": password})
        for username, password in (
            (ada.username, PASSWORD + "!"),
            (ada.username, PASSWORD.upper()),
            ("nobody_" + secrets.token_hex(5), PASSWORD),
        )
    ]
    errors = [refused(answer, 401, "BAD_CREDENTIALS") for answer in answers]
    assert errors[0] == errors[1] == errors[2]


def test_a_refresh_token_works_once(rest: Rest, register: Register) -> None:
    (ada,) = register(1)
    renewed = refresh(rest, ada.refresh_token)
    check_signed_in(renewed)
    assert renewed["user"]["user_id"] == ada.user_id
    assert renewed["refresh_token"] != ada.refresh_token
    assert rest.person(renewed).home() == []
    again = refresh(rest, renewed["refresh_token"])
    check_signed_in(again)


def test_reuse_revokes_the_family_and_no_other(rest: Rest, register: Register) -> None:
    (ada,) = register(1)
    login = {"username": ada.username, "password": PASSWORD}
    other_family = rest.call("POST", "/v1/auth/login", json=login)["refresh_token"]
    renewed = refresh(rest, ada.refresh_token)
    refuse_refresh(rest, ada.refresh_token)
    refuse_refresh(rest, renewed["refresh_token"])
    refuse_refresh(rest, ada.refresh_token)
    refresh(rest, other_family)
    assert rest.person(renewed).home() == [], "an access token lives on"


def test_logout_ends_the_family_and_not_the_access_token(rest: Rest, register: Register) -> None:
    (ada,) = register(1)
    renewed = refresh(rest, ada.refresh_token)
    out = ada.call("POST", "/v1/auth/logout", json={"refresh_token": renewed["refresh_token"]})
    assert out == {"success": True}
    refuse_refresh(rest, renewed["refresh_token"])
    assert ada.home() == []
    again = ada.call("POST", "/v1/auth/logout", json={"refresh_token": renewed["refresh_token"]})
    assert again == {"success": True}


def test_nobody_logs_another_out(rest: Rest, register: Register) -> None:
    ada, bob = register(2)
    for token in (bob.refresh_token, "no token at all"):
        out = ada.call("POST", "/v1/auth/logout", json={"refresh_token": token})
        assert out == {"success": True}
    refresh(rest, bob.refresh_token)


@pytest.mark.parametrize("path", ["/v1/auth/refresh", "/v1/auth/logout"])
def test_a_refresh_token_is_needed(path: str, register: Register) -> None:
    (ada,) = register(1)
    refused(ada.raw("POST", path, json={}), 400, "INVALID_FIELD", "refresh_token")
    refused(ada.raw("POST", path), 400, "INVALID_FIELD", "refresh_token")


@pytest.mark.parametrize("token", ["x", "é" * 40, "x" * 512, "../../etc", '"; drop'])
def test_an_unknown_refresh_token(rest: Rest, token: str) -> None:
    refuse_refresh(rest, token)


def test_the_public_keys_verify_access_tokens(rest: Rest, register: Register) -> None:
    (ada,) = register(1)
    keys = rest.call("GET", "/.well-known/jwks.json")
    assert list(keys) == ["keys"]
    assert keys["keys"]
    for key in keys["keys"]:
        assert key["kty"] == "EC"
        assert key["alg"] == "ES256"
        assert "d" not in key, "a private key"
    header = jwt.get_unverified_header(ada.access_token)
    (key,) = [key for key in keys["keys"] if key["kid"] == header["kid"]]
    claims = jwt.decode(
        ada.access_token,
        jwt.PyJWK(key).key,
        algorithms=["ES256"],
        audience="starling-api",
        issuer="starling",
    )
    assert claims["sub"] == ada.user_id
    assert claims["exp"] - claims["iat"] == 900


def _part(value: Answer) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_only_the_gateways_tokens_are_accepted(rest: Rest, register: Register) -> None:
    ada, bob = register(2)
    head, claims, signature = ada.access_token.split(".")
    decoded = jwt.decode(ada.access_token, options={"verify_signature": False})
    stranger = ec.generate_private_key(ec.SECP256R1())
    kid = jwt.get_unverified_header(ada.access_token)["kid"]
    forged = [
        "x",
        "a.b.c",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}.{_part({**decoded, 'sub': bob.user_id})}.{signature}",
        f"{_part({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
        f"{_part({'alg': 'none', 'typ': 'JWT', 'kid': kid})}.{claims}.{signature}",
        jwt.encode(decoded, stranger, "ES256", {"kid": kid}),
        jwt.encode(decoded, secrets.token_hex(32), "HS256", {"kid": kid}),
        f"{head}.{claims}.{signature[::-1]}",
    ]
    for token in forged:
        answer = rest.raw("GET", "/v1/timeline/home", headers={"Authorization": f"Bearer {token}"})
        refused(answer, 401)
    for header in ("", "Bearer", "Basic YTpi", ada.access_token, f"Token {ada.access_token}"):
        refused(rest.raw("GET", "/v1/timeline/home", headers={"Authorization": header}), 401)
    refused(rest.raw("GET", "/v1/timeline/home", params={"access_token": ada.access_token}), 401)
    refused(rest.raw("GET", "/v1/timeline/home"), 401)
    refused(ada.rest.raw("GET", "/v1/timeline/home", headers={"Cookie": ada.access_token}), 401)


CALLS = [
    ("POST", "/v1/auth/logout"),
    ("GET", "/v1/users/{me}"),
    ("GET", "/v1/users/by/username/{name}"),
    ("PATCH", "/v1/users/{me}"),
    ("GET", "/v1/users/{me}/tweets"),
    ("GET", "/v1/users/{me}/followers"),
    ("GET", "/v1/users/{me}/following"),
    ("POST", "/v1/users/{me}/follow"),
    ("DELETE", "/v1/users/{me}/follow"),
    ("POST", "/v1/tweets"),
    ("GET", "/v1/tweets/1"),
    ("DELETE", "/v1/tweets/1"),
    ("POST", "/v1/tweets/1/like"),
    ("DELETE", "/v1/tweets/1/like"),
    ("POST", "/v1/tweets/1/retweet"),
    ("DELETE", "/v1/tweets/1/retweet"),
    ("GET", "/v1/timeline/home"),
    ("GET", "/v1/timeline/popular"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_but_the_open_ones_needs_a_token(
    rest: Rest, register: Register, method: str, path: str
) -> None:
    (ada,) = register(1)
    path = path.format(me=ada.user_id, name=ada.username)
    refused(rest.raw(method, path), 401)
    refused(rest.raw(method, path, headers={"Authorization": "Bearer nonsense"}), 401)


def test_open_calls_do_not_mind_a_bad_token(rest: Rest) -> None:
    bad = {"Authorization": "Bearer nonsense"}
    answer_of(rest.raw("POST", "/v1/users", json=body(), headers=bad))
    answer_of(rest.raw("GET", "/.well-known/jwks.json", headers=bad))
    assert rest.raw("GET", "/openapi.json", headers=bad).status_code == 200
    assert rest.raw("GET", "/docs/", headers=bad).status_code == 200
    assert rest.raw("GET", "/healthz", headers=bad).status_code == 200
