"""The OpenAPI document: valid, current, complete, and with the limits that the services apply."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from envoy import policy
from envoy.api import read_api
from envoy.edge_errors import DOMAIN, REFUSALS
from envoy.spec import DESCRIPTOR
from gateway.openapi import generate, notes, status
from gateway.openapi.descriptors import compile_protos
from graph_svc import profile
from tweet_svc.config import CONTENT_CEILING, TweetConfig
from tweet_svc.spam import RULES

Json = dict[str, Any]

CONTRACT = {
    "POST /v1/users",
    "POST /v1/auth/login",
    "POST /v1/auth/refresh",
    "POST /v1/auth/logout",
    "GET /.well-known/jwks.json",
    "GET /openapi.json",
    "GET /docs/",
    "GET /healthz",
    "GET /v1/users/{user_id}",
    "GET /v1/users/by/username/{username}",
    "PATCH /v1/users/{user_id}",
    "GET /v1/users/{user_id}/tweets",
    "GET /v1/users/{user_id}/followers",
    "GET /v1/users/{user_id}/following",
    "POST /v1/users/{user_id}/follow",
    "DELETE /v1/users/{user_id}/follow",
    "POST /v1/tweets",
    "GET /v1/tweets/{tweet_id}",
    "DELETE /v1/tweets/{tweet_id}",
    "POST /v1/tweets/{tweet_id}/like",
    "DELETE /v1/tweets/{tweet_id}/like",
    "POST /v1/tweets/{tweet_id}/retweet",
    "DELETE /v1/tweets/{tweet_id}/retweet",
    "GET /v1/timeline/home",
    "GET /v1/timeline/popular",
}
OPEN = {
    "POST /v1/users",
    "POST /v1/auth/login",
    "POST /v1/auth/refresh",
    "GET /.well-known/jwks.json",
    "GET /openapi.json",
    "GET /docs/",
    "GET /healthz",
}


@pytest.fixture(scope="module")
def document() -> Json:
    loaded: Json = json.loads(generate.OUTPUT.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def calls(document: Json) -> dict[str, Json]:
    return {
        f"{verb.upper()} {path}": operation
        for path, item in document["paths"].items()
        for verb, operation in item.items()
    }


def schema(document: Json, name: str, field: str) -> Json:
    found: Json = document["components"]["schemas"][name]["properties"][field]
    return found


def parameter(call: Json, name: str) -> Json:
    found: Json = next(each for each in call["parameters"] if each["name"] == name)
    return found


def resolved(document: Json, answer: Json) -> Json:
    if "$ref" not in answer:
        return answer
    shared: Json = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return shared


def test_it_is_what_the_protos_give() -> None:
    assert generate.OUTPUT.read_text(encoding="utf-8") == generate.generate()


def test_it_is_valid_openapi_3_1(document: Json) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_it_has_the_calls_of_the_contract_and_no_other(calls: dict[str, Json]) -> None:
    assert set(calls) == CONTRACT
    assert len({call["operationId"] for call in calls.values()}) == len(calls)


def test_open_calls_are_those_the_edge_lets_through(calls: dict[str, Json]) -> None:
    assert {name for name, call in calls.items() if call.get("security") == []} == OPEN
    by_edge = {
        f"{binding.verb} {binding.template}"
        for method in read_api(DESCRIPTOR).methods
        if policy.is_open(method)
        for binding in method.bindings
    }
    assert OPEN - by_edge == {"GET /healthz"}
    assert by_edge & CONTRACT <= OPEN


def _media(document: Json, calls: dict[str, Json]) -> Iterator[tuple[str, Json, Any]]:
    """(where, schema, example) of every example there is."""
    for name, call in calls.items():
        for each in call.get("parameters", ()):
            if "example" in each:
                yield f"{name} {each['name']}", each["schema"], each["example"]
        bodies = [("body", call.get("requestBody"))]
        bodies += [(code, resolved(document, answer)) for code, answer in call["responses"].items()]
        for place, body in bodies:
            for media in (body or {}).get("content", {}).values():
                if "example" in media:
                    yield f"{name} {place}", media["schema"], media["example"]
                for key, example in media.get("examples", {}).items():
                    yield f"{name} {place} {key}", media["schema"], example["value"]


def test_every_example_is_valid(document: Json, calls: dict[str, Json]) -> None:
    checked = 0
    for where, each, example in _media(document, calls):
        validator = OAS31Validator({**each, "components": document["components"]})
        errors = [error.message for error in validator.iter_errors(example)]
        assert not errors, f"{where}: {errors}"
        checked += 1
    assert checked > 100


def test_every_json_body_and_answer_has_an_example(document: Json, calls: dict[str, Json]) -> None:
    for name, call in calls.items():
        answers = [resolved(document, each) for each in call["responses"].values()]
        for body in (call.get("requestBody", {}), *answers):
            for kind, media in body.get("content", {}).items():
                if kind == "application/json" and name != "GET /openapi.json":
                    assert "example" in media or media.get("examples"), name


def test_the_example_ids_are_of_the_example_times() -> None:
    epoch = datetime.fromisoformat("2015-01-01T00:00:00.000Z")
    for id_name, time_name in (
        ("user_id", "starling.graph.v1.User.created_at"),
        ("tweet_id", "created_at"),
    ):
        made = epoch + timedelta(milliseconds=int(str(notes.EXAMPLES[id_name])) >> 22)
        assert made == datetime.fromisoformat(str(notes.EXAMPLES[time_name]))


def test_ids_are_strings_counts_are_numbers_and_everything_is_always_present(
    document: Json,
) -> None:
    schemas = document["components"]["schemas"]
    assert schema(document, "Tweet", "tweet_id")["type"] == "string"
    assert schema(document, "Tweet", "tweet_id")["format"] == "int64"
    assert schema(document, "User", "followers_count")["type"] == "integer"
    for name, each in schemas.items():
        if name.endswith("Response") or name in ("Tweet", "User", "Status", "JsonWebKey"):
            assert set(each["required"]) == set(each["properties"]), name


def test_what_the_path_names_is_not_in_the_body(document: Json, calls: dict[str, Json]) -> None:
    for name, call in calls.items():
        in_path = {p["name"] for p in call.get("parameters", ()) if p["in"] == "path"}
        assert all("{" + each + "}" in name for each in in_path)
        if "requestBody" not in call:
            continue
        reference = call["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        body = document["components"]["schemas"][reference.rpartition("/")[2]]
        assert not in_path & set(body["properties"]), name
        assert call["requestBody"]["required"] == bool(body.get("required")), name


def test_a_reader_sees_the_limits_that_the_services_apply(
    document: Json, calls: dict[str, Json]
) -> None:
    def lengths(name: str, field: str) -> tuple[int | None, int | None]:
        found = schema(document, name, field)
        return found.get("minLength"), found.get("maxLength")

    max_chars = TweetConfig.model_fields["tweet_max_chars"].default
    assert lengths("PostTweetRequest", "content") == (1, max_chars) == (1, 140)
    assert lengths("Tweet", "content") == (1, CONTENT_CEILING) == (1, 280)
    for name in ("RegisterRequest", "UpdateUserRequest", "User"):
        assert lengths(name, "display_name") == (1, profile.DISPLAY_NAME_MAX_CHARS) == (1, 50)
        assert lengths(name, "bio") == (None, profile.BIO_MAX_CHARS) == (None, 160)
    assert lengths("RegisterRequest", "password") == (8, 128)
    assert schema(document, "RegisterRequest", "username")["pattern"] == "^[A-Za-z0-9_]{3,30}$"
    media_ids = schema(document, "PostTweetRequest", "media_ids")
    assert media_ids["maxItems"] == 4
    assert media_ids["items"]["pattern"] == "^[A-Za-z0-9_-]{1,64}$"
    home = calls["GET /v1/timeline/home"]
    for name, bounds in (("limit", (1, 100, 20)), ("top_k", (0, 50, 0))):
        found = parameter(home, name)["schema"]
        assert (found["minimum"], found["maximum"], found["default"]) == bounds
    k = parameter(calls["GET /v1/timeline/popular"], "k")["schema"]
    assert (k["minimum"], k["maximum"], k["default"]) == (1, 50, 10)
    key = parameter(calls["POST /v1/tweets"], "Idempotency-Key")
    assert (key["in"], key["schema"]["maxLength"]) == ("header", 255)


@pytest.mark.parametrize(
    ("call", "statuses"),
    [
        ("POST /v1/users", "400 409 413 415 429 503 504"),
        ("POST /v1/auth/login", "400 401 413 415 429 503 504"),
        ("POST /v1/auth/logout", "400 401 403 413 415 429 503 504"),
        ("POST /v1/tweets", "400 401 403 413 415 429 503 504"),
        ("DELETE /v1/tweets/{tweet_id}", "400 401 403 404 429 503 504"),
        ("DELETE /v1/tweets/{tweet_id}/like", "400 401 403 404 429 503 504"),
        ("GET /v1/timeline/home", "400 401 403 429 503 504"),
        ("PATCH /v1/users/{user_id}", "400 401 403 413 415 429 503 504"),
    ],
)
def test_errors_of_a_call(calls: dict[str, Json], call: str, statuses: str) -> None:
    assert list(calls[call]["responses"]) == ["200", *statuses.split()]


def test_every_paged_list_may_refuse_its_cursor(calls: dict[str, Json]) -> None:
    paged = [
        call
        for call in calls.values()
        if any(each["name"] == "cursor" for each in call.get("parameters", ()))
    ]
    assert len(paged) == 4
    for call in paged:
        examples = call["responses"]["400"]["content"]["application/json"]["examples"]
        violation = examples["INVALID_CURSOR"]["value"]["details"][1]["field_violations"][0]
        assert violation["reason"] == "INVALID_CURSOR"


def test_the_edges_refusals_are_as_the_edge_words_them() -> None:
    worded = {refusal.reason: refusal for refusal in REFUSALS}
    assert status.EDGE_DOMAIN == DOMAIN
    for reason in notes.EDGE_REASONS:
        shared = next(each for each in status.SHARED.values() if each.name == reason)
        refusal = worded[reason]
        assert shared.status == refusal.status
        assert shared.example == refusal.body()


def test_the_spam_example_names_a_rule_that_exists() -> None:
    assert notes.REASONS["SPAM_DETECTED"].metadata["rule"] in RULES


def _descriptions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("description"), str):
            yield node["description"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _descriptions(each)


def test_descriptions_speak_of_rest(document: Json, calls: dict[str, Json]) -> None:
    assert all(call["summary"] and call["description"] for call in calls.values())
    text = "\n".join(_descriptions(document))
    assert "GET /v1/timeline/popular" in text
    for word in ("metadata names", "Errors:", "Needs no", "GetPopularTweets", "TWEET_MAX_CHARS"):
        assert word not in text, word


def test_every_note_is_about_something_that_exists(document: Json) -> None:
    protos = compile_protos(generate.ROOT)
    fields = {field.full_name for message in protos.messages.values() for field in message.fields}
    names = {full_name.rpartition(".")[2] for full_name in fields}
    rpcs = {method.name for service in protos.services for method in service.methods}
    assert set(notes.LIMITS) | set(notes.DESCRIPTIONS) <= fields
    assert set(notes.EXAMPLES) <= fields | names
    assert set(notes.WRONG_FIELDS) <= names
    for table in (
        notes.SUMMARIES,
        notes.HEADERS,
        notes.REQUEST_EXAMPLES,
        notes.RAW_RESPONSES,
        notes.FAILURES,
        notes.HIDDEN_RPCS,
    ):
        assert set(table) <= rpcs
    text = json.dumps(document)
    for reason in notes.REASONS:
        assert f'"{reason}"' in text, reason
