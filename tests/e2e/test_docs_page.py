"""The documentation as a client gets it, and the API as the documentation says it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from gateway.openapi.generate import OUTPUT

from .rest import PASSWORD, Person, Rest

Json = dict[str, Any]


class Contract:
    """Calls by their place in the document, and checks every answer against what it says there."""

    def __init__(self, document: Json, rest: Rest) -> None:
        self._document = document
        self._rest = rest
        self.called: set[str] = set()

    def call(
        self,
        operation: str,
        status: int = 200,
        *,
        by: Person | None = None,
        path: Json | None = None,
        **options: Any,
    ) -> Any:
        """The answer's body. `operation` is such as "GET /v1/tweets/{tweet_id}"."""
        verb, template = operation.split()
        described = self._document["paths"][template][verb.lower()]
        assert (by is None) == (described.get("security") == []) or status == 401, operation
        answer = self._rest.raw(
            verb,
            template.format(**(path or {})),
            headers={**(by.headers if by else {}), **options.pop("headers", {})},
            **options,
        )
        assert answer.status_code == status, f"{operation}: {answer.status_code} {answer.text}"
        if status == 200:
            self.called.add(operation)
        said = described["responses"][str(status)]
        if "$ref" in said:
            said = self._document["components"]["responses"][said["$ref"].rpartition("/")[2]]
        for header, each in said.get("headers", {}).items():
            assert not each["required"] or header in answer.headers
        [(kind, media)] = said["content"].items()
        assert answer.headers["content-type"].startswith(kind)
        if kind != "application/json":
            return answer.text
        body = answer.json()
        whole = {**media["schema"], "components": self._document["components"]}
        errors = [f"{e.json_path}: {e.message}" for e in OAS31Validator(whole).iter_errors(body)]
        assert not errors, f"{operation} answered {body}: {errors}"
        return body


@pytest.fixture(scope="module")
def document(rest: Rest) -> Json:
    answer = rest.raw("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == OUTPUT.read_bytes()
    loaded: Json = answer.json()
    return loaded


@pytest.fixture(scope="module")
def contract(document: Json, rest: Rest) -> Contract:
    return Contract(document, rest)


def reason(status: Json) -> str:
    """The reason of an error's body."""
    (info,) = [each for each in status["details"] if each["@type"].endswith("ErrorInfo")]
    return str(info["reason"])


def test_the_page_and_all_it_links_to(rest: Rest) -> None:
    page = rest.raw("GET", "/docs/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert rest.raw("GET", "/docs").content == page.content
    linked = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    assert "/docs/swagger-ui-bundle.js" in linked
    for address in linked:
        assert address.startswith("/"), address
        answer = rest.raw("GET", address)
        assert answer.status_code == 200, address
        assert answer.content
    missing = rest.raw("GET", "/docs/nothing.js")
    assert missing.status_code == 404
    assert reason(missing.json()) == "PAGE_NOT_FOUND"


def test_every_call_answers_as_described(contract: Contract, rest: Rest, document: Json) -> None:
    ada, bob = rest.register(), rest.register()
    user = {"user_id": ada.user_id}

    body: Json = {"username": f"{ada.username}_2", "display_name": "Ada", "password": PASSWORD}
    contract.call("POST /v1/users", json=body)
    body = {"username": ada.username, "password": PASSWORD}
    tokens = contract.call("POST /v1/auth/login", json=body)
    body = {"refresh_token": tokens["refresh_token"]}
    tokens = contract.call("POST /v1/auth/refresh", json=body)
    body = {"refresh_token": tokens["refresh_token"]}
    contract.call("POST /v1/auth/logout", by=ada, json=body)

    contract.call("GET /v1/users/{user_id}", by=bob, path=user)
    contract.call("GET /v1/users/by/username/{username}", by=bob, path={"username": ada.username})
    contract.call("PATCH /v1/users/{user_id}", by=ada, path=user, json={"bio": "Engines."})
    contract.call("POST /v1/users/{user_id}/follow", by=bob, path=user)
    contract.call("GET /v1/users/{user_id}/followers", by=bob, path=user)
    contract.call("GET /v1/users/{user_id}/following", by=ada, path={"user_id": bob.user_id})

    body = {"content": "The engine weaves.", "media_ids": ["plan-1"]}
    headers = {"idempotency-key": "one"}
    posted = contract.call("POST /v1/tweets", by=ada, json=body, headers=headers)
    tweet = {"tweet_id": posted["tweet_id"]}
    contract.call("GET /v1/tweets/{tweet_id}", by=bob, path=tweet)
    for what in ("like", "retweet"):
        contract.call(f"POST /v1/tweets/{{tweet_id}}/{what}", by=bob, path=tweet)
    contract.call("GET /v1/timeline/home", by=bob, params={"top_k": 5})
    contract.call("GET /v1/timeline/popular", by=bob)
    listed = contract.call("GET /v1/users/{user_id}/tweets", by=bob, path=user)
    assert [each["tweet_id"] for each in listed["tweets"]] == [posted["tweet_id"]]
    for what in ("like", "retweet"):
        contract.call(f"DELETE /v1/tweets/{{tweet_id}}/{what}", by=bob, path=tweet)
    contract.call("DELETE /v1/tweets/{tweet_id}", by=ada, path=tweet)
    contract.call("DELETE /v1/users/{user_id}/follow", by=bob, path=user)

    for operation in ("/.well-known/jwks.json", "/openapi.json", "/docs/", "/healthz"):
        contract.call(f"GET {operation}")
    assert contract.called == {
        f"{verb.upper()} {path}" for path, item in document["paths"].items() for verb in item
    }


def test_errors_are_as_described(contract: Contract, rest: Rest) -> None:
    ada, bob = rest.register(), rest.register()
    nobody = {"user_id": "1"}
    body = {"username": ada.username, "display_name": "A", "password": PASSWORD}
    post = "POST /v1/tweets"
    expected = [
        ("USERNAME_TAKEN", contract.call("POST /v1/users", 409, json=body)),
        (
            "BAD_CREDENTIALS",
            contract.call("POST /v1/auth/login", 401, json={"username": "nobody", "password": "x"}),
        ),
        (
            "REFRESH_TOKEN_INVALID",
            contract.call("POST /v1/auth/refresh", 401, json={"refresh_token": "x"}),
        ),
        ("TOKEN_INVALID", contract.call("GET /v1/timeline/home", 401)),
        (
            "USER_NOT_FOUND",
            contract.call("GET /v1/users/{user_id}", 404, by=ada, path=nobody),
        ),
        (
            "USER_NOT_FOUND",
            contract.call("GET /v1/users/{user_id}/tweets", 404, by=ada, path=nobody),
        ),
        (
            "CANNOT_FOLLOW_SELF",
            contract.call(
                "POST /v1/users/{user_id}/follow", 400, by=ada, path={"user_id": ada.user_id}
            ),
        ),
        (
            "IDENTITY_MISMATCH",
            contract.call("GET /v1/timeline/home", 403, by=ada, params={"user_id": bob.user_id}),
        ),
        (
            "TWEET_NOT_FOUND",
            contract.call("GET /v1/tweets/{tweet_id}", 404, by=ada, path={"tweet_id": "1"}),
        ),
        ("INVALID_FIELD", contract.call(post, 400, by=ada, json={"content": " "})),
        ("INVALID_FIELD", contract.call(post, 400, by=ada, json={"content": "x" * 141})),
        (
            "SPAM_DETECTED",
            contract.call(post, 400, by=ada, json={"content": "https://a.b " * 5}),
        ),
        (
            "IDEMPOTENCY_KEY_INVALID",
            contract.call(
                post, 400, by=ada, json={"content": "x"}, headers={"idempotency-key": "x" * 256}
            ),
        ),
        ("MALFORMED_REQUEST", contract.call(post, 400, by=ada, content=b"{")),
        ("BODY_TOO_LARGE", contract.call(post, 413, by=ada, json={"content": "x" * 70_000})),
        (
            "INVALID_FIELD",
            contract.call("GET /v1/timeline/home", 400, by=ada, params={"limit": 0}),
        ),
        (
            "INVALID_FIELD",
            contract.call("GET /v1/timeline/home", 400, by=ada, params={"cursor": "x"}),
        ),
        (
            "MALFORMED_REQUEST",
            contract.call("GET /v1/timeline/home", 400, by=ada, params={"nonsense": 1}),
        ),
    ]
    assert [reason(status) for _, status in expected] == [name for name, _ in expected]
