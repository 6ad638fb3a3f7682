"""A real edge reads requests strictly: paths, queries and JSON."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from starling.tweet.v1 import tweet_service_pb2

from tests.integration.envoy_rest import error
from tests.integration.envoy_rig import Mesh, mesh_spec, new_directory, running

HOME = "/v1/timeline/home"
POST = "/v1/tweets"
MOST = 2**63 - 1


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_mesh() -> AsyncIterator[Mesh]:
    async with new_directory() as directory, running(mesh_spec(directory), directory) as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Mesh:
    shared_mesh.recorder.reset()
    return shared_mesh


async def test_what_the_path_names_is_no_field_of_a_body(mesh: Mesh) -> None:
    for name in ("tweet_id", "tweetId"):
        for verb, path in (("POST", "/v1/tweets/5/like"), ("DELETE", "/v1/tweets/5")):
            await mesh.request(verb, path, content=f'{{"{name}":"6"}}'.encode())
            assert mesh.recorder.calls[-1].request.tweet_id == 5  # type: ignore[attr-defined]


# What a field must be


def whole(field: str, least: int, most: int) -> tuple[str, str]:
    """The field that an error names, and its message."""
    return field, f"{field} must be a whole number from {least} to {most}"


LIMIT = whole("limit", 1, 100)


def texts(field: str) -> tuple[str, str]:
    """The field that an error names, and its message."""
    return field, f"{field} must be a list of texts"


def in_path(field: str) -> tuple[str, str]:
    """The field that an error names, and its message."""
    return field, f"{field} is named by the path and must not be in the query"


def unknown(name: str) -> tuple[str, str]:
    """The field that an error names, and its message."""
    return name, f"unknown query parameter {name}"


@pytest.mark.parametrize(
    ("verb", "path", "body", "expected"),
    [
        *(("GET", f"{HOME}?limit={v}", None, LIMIT) for v in ("abc", "-1", "1.5", "", "99999999999")),
        *(("GET", f"{HOME}?limit={v}", None, LIMIT) for v in ("%201", "1e1", "+5", "0x5", "%zz")),
        ("GET", "/v1/users/5/followers?limit=x", None, LIMIT),
        ("GET", HOME + "?top_k=x", None, whole("top_k", 0, 50)),
        ("GET", HOME + "?topK=4294967296", None, whole("top_k", 0, 50)),
        ("GET", "/v1/timeline/popular?k=x", None, whole("k", 1, 50)),
        ("GET", "/v1/tweets/abc", None, whole("tweet_id", 1, MOST)),
        ("GET", f"/v1/tweets/{MOST + 1}", None, whole("tweet_id", 1, MOST)),
        ("GET", "/v1/users/-5/followers", None, whole("user_id", 1, MOST)),
        ("PATCH", "/v1/users/me", b"{}", whole("user_id", 1, MOST)),
        ("GET", "/v1/users/%zz", None, whole("user_id", 1, MOST)),
        ("GET", HOME + "?cursor=%ff", None, ("cursor", "cursor must be UTF-8 text")),
        ("GET", "/v1/users/by/username/%c0%80", None, ("username", "username must be UTF-8 text")),
        (
            "GET",
            HOME + "?cursor=%4",
            None,
            ("cursor", 'cursor has a "%" that two hexadecimal digits do not follow'),
        ),
        ("GET", HOME + "?limit=1&limit=2", None, ("limit", "limit is given twice")),
        ("GET", HOME + "?topK=1&top_k=1", None, ("top_k", "top_k is given twice")),
        ("GET", HOME + "?cursor", None, ("cursor", 'cursor has no value: "=" is missing')),
        ("GET", HOME + "?nope=1", None, unknown("nope")),
        ("GET", HOME + "?limit=1&%6Eope", None, unknown("nope")),
        (
            "GET",
            HOME + "?%ff=1",
            None,
            ("query", "the query is not name=value with names of this call"),
        ),
        (
            "GET",
            "/v1/tweets/5?%74weetId=5",
            None,
            in_path("tweet_id"),
        ),
        ("GET", "/healthz?x=1", None, unknown("x")),
        ("GET", "/docs/?file=x.js", None, in_path("file")),
        ("DELETE", "/v1/tweets/5/like?x=1", None, unknown("x")),
        ("POST", POST + "?content=hi", None, unknown("content")),
        ("POST", POST + "?mediaIds=a", b"{}", unknown("mediaIds")),
        ("PATCH", "/v1/users/5?bio=hi", b"{}", unknown("bio")),
        ("POST", "/v1/auth/login?username=ada", b"{}", unknown("username")),
        ("POST", "/v1/users?password=correct%20horse", b"{}", unknown("password")),
        ("POST", POST, b'{"content":5}', ("content", "content must be text")),
        ("POST", POST, b'{"content":{}}', ("content", "content must be text")),
        ("POST", POST, b'{"content":"","media_ids":"abc"}', texts("media_ids")),
        ("POST", POST, b'{"media_ids":{"a":1}}', texts("media_ids")),
        ("POST", POST, b'{"media_ids":["a", "b" ,1]}', ("media_ids[2]", "media_ids[2] must be text")),
        ("POST", POST, b'{"media_ids":[null]}', ("media_ids[0]", "media_ids[0] must be text")),
        ("PATCH", "/v1/users/5", b'{"displayName":true}', ("display_name", "display_name must be text")),
    ],
)  # fmt: skip
async def test_a_wrong_value_is_a_400_that_names_the_field_and_its_limits(
    mesh: Mesh, verb: str, path: str, body: bytes | None, expected: tuple[str, str]
) -> None:
    check_malformed(await mesh.request(verb, path, content=body), *expected)
    assert not mesh.recorder.calls


def check_malformed(answer: Any, field: str, message: str) -> None:
    """Checks the one form of such an answer."""
    found = error(answer, 400, 3)
    info, bad_request = found["details"]
    assert found["message"] == message
    assert info["reason"] == "MALFORMED_REQUEST"
    violation = {"field": field, "description": message, "reason": "MALFORMED"}
    assert bad_request["field_violations"] == [violation]


# JSON


@pytest.mark.parametrize(
    ("body", "what", "place"),
    [
        (b"{'content':\"a\"}", "a name in double quotes is missing", (1, 2)),
        (b"{content:1}", "a name in double quotes is missing", (1, 2)),
        (b'{"content":"a",}', "a name in double quotes is missing", (1, 16)),
        (b'{"content":"a" // why\n}', '"," or "}" is missing', (1, 16)),
        (b'{"content":"a"\n\n "bio":"b"}', '"," or "}" is missing', (3, 2)),
        (b'{"content" "a"}', '":" is missing', (1, 12)),
        (b"{\"content\":'a'}", "a value is missing or misspelt", (1, 12)),
        (b'{"x":NaN}', "a value is missing or misspelt", (1, 6)),
        (b'{"x":[1,]}', "a value is missing or misspelt", (1, 9)),
        (b'{"x":[1}}', '"," or "]" is missing', (1, 8)),
        (b'{"x":.5}', "a value is missing or misspelt", (1, 6)),
        (b'{"x":01}', '"," or "}" is missing', (1, 7)),
        (b'{"x":1.}', '"," or "}" is missing', (1, 7)),
        (b'{"x":{"y":tru}}', "a value is missing or misspelt", (1, 11)),
        (b'{"content":"a"} {}', "something follows the end", (1, 17)),
        (b"[1]", "an object in braces is expected", (1, 1)),
        (b"null", "an object in braces is expected", (1, 1)),
        (b"  ", "an object in braces is expected", (1, 3)),
        (b"\xef\xbb\xbf{}", "an object in braces is expected", (1, 1)),
        (b'{"', "a text without its closing quote begins", (1, 2)),
        (b'{"\xc3\xa9":"\n"}', "a control character that is not escaped stands", (1, 7)),
        (b'{"x":"\\x41"}', "this escape is not JSON", (1, 7)),
        (b'{"x":"\\u12g4"}', "this escape is not JSON", (1, 7)),
        (b'{"x":"\\ud800"}', "half of a character (a lone surrogate) is escaped", (1, 7)),
        (b'{"x":"\\udc00\\ud800"}', "half of a character (a lone surrogate) is escaped", (1, 7)),
        (b'{"content":"\xff"}', "bytes that are not UTF-8 stand", (1, 13)),
        (b'{"x":"\xed\xa0\x80"}', "bytes that are not UTF-8 stand", (1, 7)),
        (b'{"x":' + b"[" * 5000, "more than 64 levels are nested", (1, 69)),
        (b'{"x":' * 9000, "more than 64 levels are nested", (1, 321)),
    ],
)
async def test_json_that_is_none_is_a_400_that_says_where(
    mesh: Mesh, body: bytes, what: str, place: tuple[int, int]
) -> None:
    where = "at line {}, character {}".format(*place)
    message = f"the body is not JSON as it must be: {what} {where}"
    for verb, path in (("POST", POST), ("DELETE", "/v1/tweets/5"), ("GET", HOME)):
        check_malformed(await mesh.request(verb, path, content=body), "body", message)
    assert not mesh.recorder.calls


@pytest.mark.parametrize("second", ["content", "c\\u006fntent"])
async def test_a_name_given_twice_is_a_400_that_names_it(mesh: Mesh, second: str) -> None:
    message = '"content" is given twice, the second time at line 1, character 15'
    answer = await mesh.request("POST", POST, content=f'{{"content":"","{second}":""}}'.encode())
    check_malformed(answer, "content", message)
    both = b'{"media_ids":[],"mediaIds":[]}'
    assert error(await mesh.request("POST", POST, content=both), 400, 3)
    long = b'"' + b"x" * 100 + b'":1'
    answer = await mesh.request("POST", POST, content=b"{" + long + b"," + long + b"}")
    check_malformed(
        answer, "body", "a name is given twice, the second time at line 1, character 107"
    )


async def test_a_body_is_read_with_its_escapes_and_without_what_it_has_no_use_for(
    mesh: Mesh,
) -> None:
    body = (
        r' {"c\u006Fntent" : "\ud83d\ude00 \"\\\/\b\f\n\r\t\u00e9\u0041", "mediaIds":["a" , "b"],'
        ' "é": [{"content": 5, "content": [[]]}, -0.5e+3, true, null, {}, []], "user": "\x7f"}\r\n'
    )
    assert (await mesh.request("POST", POST, content=body.encode())).status_code == 200
    assert mesh.recorder.last("PostTweet").request == tweet_service_pb2.PostTweetRequest(
        content='😀 "\\/\b\f\n\r\téA', media_ids=["a", "b"]
    )
    for nothing in (b"", b"{}", b"\n{ }\t", b'{"content":null,"media_ids":null}'):
        assert (await mesh.request("POST", POST, content=nothing)).status_code == 200
        assert mesh.recorder.last("PostTweet").request == tweet_service_pb2.PostTweetRequest()


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """JSON objects in all their spellings, many with a few characters changed."""
    value = draw(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4))
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (" ,\t", "\r: ")])),
    )
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        put = draw(
            st.text(alphabet="{}[]\",:\\/ \n\x00\x1f\x7f0123.eE+-truefalsn'ud8cD", max_size=2)
        )
        text = text[:at] + put + text[at + draw(st.integers(0, 2)) :]
    return text


def python_takes(text: str) -> bool:
    """Whether Python's reader takes an object of which all is text that UTF-8 can hold."""

    def no_constant(name: str) -> Any:
        raise ValueError(name)

    def no_twin(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        assume(len(found) == len(pairs))
        return found

    try:
        value = json.loads(text, parse_constant=no_constant, object_pairs_hook=no_twin)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return isinstance(value, dict)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=json_texts())
async def test_the_edge_takes_what_pythons_reader_takes(mesh: Mesh, text: str) -> None:
    """In a call that knows no field of a body."""
    assume(text)
    answer = await mesh.request("POST", "/v1/tweets/5/like", content=text.encode())
    for _ in range(20):
        if answer.status_code != 503:  # no service was healthy for a moment: a busy machine
            break
        await asyncio.sleep(0.5)
        answer = await mesh.request("POST", "/v1/tweets/5/like", content=text.encode())
    assert (answer.status_code == 200) == python_takes(text), (text, answer.text)
