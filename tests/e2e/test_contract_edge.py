"""What the edge answers itself: paths, methods, bodies, protocols, headers."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from starling.tweet.v1 import tweet_service_pb2

from stack.tls import client_context

from .mesh import Mesh
from .rest import Person, Rest, answer_of, refused, violations


@pytest.fixture(scope="module")
def ada(rest: Rest) -> Person:
    """The caller."""
    return rest.register()


def tweet_body() -> dict[str, Any]:
    return {"content": f"tweet {secrets.token_hex(5)}"}


# Paths, methods, queries


@pytest.mark.parametrize("raw", ["%ff", "a%c0%80", "%ed%a0%80"])
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/timeline/home?cursor={raw}", "cursor"),
        ("/v1/users/1/followers?cursor={raw}", "cursor"),
        ("/v1/users/by/username/{raw}", "username"),
        ("/docs/{raw}", "file"),
    ],
)
def test_bytes_that_are_no_text(ada: Person, path: str, field: str, raw: str) -> None:
    assert field in violations(refused(ada.raw("GET", path.format(raw=raw)), 400))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v2/tweets",
        "/V1/tweets/1",
        "/v1/tweets/1/",
        "/v1/tweets/1/nothing",
        "/v1/users/by/username/",
        "/metrics",
        "/stats",
        "/admin",
        "/ready",
        "/starling.tweet.v1.TweetService/GetTweet",
        "/starling.tweet.v1.TweetLookupService/BatchGetTweets",
        "/starling.graph.v1.GraphLookupService/CreateUser",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path(ada: Person, rest: Rest, method: str, path: str) -> None:
    refused(ada.raw(method, path), 404)
    refused(rest.raw(method, path), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/users"),
        ("GET", "/v1/tweets"),
        ("PUT", "/v1/tweets/1"),
        ("PATCH", "/v1/tweets/1"),
        ("POST", "/v1/tweets/1"),
        ("GET", "/v1/tweets/1/like"),
        ("PUT", "/v1/users/1"),
        ("DELETE", "/v1/users/1"),
        ("GET", "/v1/auth/login"),
        ("POST", "/v1/timeline/home"),
        ("DELETE", "/v1/timeline/popular"),
        ("POST", "/openapi.json"),
        ("DELETE", "/healthz"),
        ("OPTIONS", "/v1/tweets"),
        ("TRACE", "/v1/tweets"),
        ("FOO", "/v1/tweets"),
    ],
)
def test_a_wrong_method(ada: Person, method: str, path: str) -> None:
    answer = ada.raw(method, path)
    refused(answer, 405 if answer.status_code == 405 else 404)


def test_another_methods_name_in_a_header_is_nothing(ada: Person) -> None:
    tweet_id = ada.post(tweet_body()["content"])
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer_of(ada.raw("GET", f"/v1/tweets/{tweet_id}", headers={name: "DELETE"}))
    assert ada.tweet(tweet_id)["tweet_id"] == tweet_id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/users"),
        ("POST", "/v1/auth/login"),
        ("GET", "/v1/users/{me}"),
        ("PATCH", "/v1/users/{me}"),
        ("POST", "/v1/users/{me}/follow"),
        ("POST", "/v1/tweets"),
        ("GET", "/v1/tweets/1"),
        ("DELETE", "/v1/tweets/1"),
        ("POST", "/v1/tweets/1/like"),
        ("GET", "/v1/timeline/home"),
        ("GET", "/v1/timeline/popular"),
    ],
)
@pytest.mark.parametrize("query", ["bogus=1", "bogus", "limit_=3", "%00=1"])
def test_an_unknown_query_parameter(ada: Person, method: str, path: str, query: str) -> None:
    refused(ada.raw(method, f"{path.format(me=ada.user_id)}?{query}"), 400)


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"content":',
        b'{"content":"a"',
        b'{"content":"a"} trailing',
        b"[]",
        b'"text"',
        b"7",
        b"null null",
        b'{"content":7}',
        b'{"content":["a"]}',
        b'{"content":{"a":1}}',
        b'{"content":"a","media_ids":[1]}',
        b'{"content":"\xff\xfe"}',
        b'{"content":"\\ud800"}',
        b"{'content':'a'}",
        b'{"content":"a",}',
        b'{"content":"a" /* why */}',
        b'{content:"a"}',
        b'{"content":"a","content":"b"}',
        b'{"content":"a","x":NaN}',
        b'{"content":"a","media_ids":"abc"}',
        b"[" * 20_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"\x00\x00\x00\x00\x05hello",
    ],
)
def test_malformed_json(ada: Person, body: bytes) -> None:
    error = refused(ada.raw("POST", "/v1/tweets", content=body), 400, "MALFORMED_REQUEST")
    assert violations(error)


def test_the_largest_body(ada: Person) -> None:
    def sized(size: int) -> bytes:
        body = json.dumps(tweet_body()).encode()
        return body[:-1] + b" " * (size - len(body)) + b"}"

    answer_of(ada.raw("POST", "/v1/tweets", content=sized(64 * 1024)))
    for size in (64 * 1024 + 1, 100_000, 3_000_000):
        refused(ada.raw("POST", "/v1/tweets", content=sized(size)), 413)
    chunks = iter([sized(70_000)[:35_000], sized(70_000)[35_000:]])
    refused(ada.raw("POST", "/v1/tweets", content=chunks), 413)
    refused(ada.rest.raw("POST", "/v1/auth/login", content=sized(70_000)), 413)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_json_by_another_name(ada: Person, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    body = json.dumps(tweet_body()).encode()
    answer_of(ada.raw("POST", "/v1/tweets", content=body, headers=headers))


# Protocols and headers


@pytest.mark.parametrize(
    "content_type",
    [
        "application/grpc",
        "application/grpc+proto",
        "Application/GRPC",
        "application/grpc-web",
        "application/grpc-web-text",
        "application/connect+proto",
        "application/proto",
        "application/x-protobuf",
    ],
)
def test_other_protocols_are_refused(ada: Person, content_type: str) -> None:
    for path in ("/v1/tweets", "/starling.tweet.v1.TweetService/PostTweet"):
        answer = ada.raw(
            "POST", path, content=b"\0\0\0\0\0", headers={"Content-Type": content_type}
        )
        assert 400 <= answer.status_code < 500
        refused(answer, answer.status_code)


def test_native_grpc_is_refused(ada: Person, mesh: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials(mesh.ca.read_bytes())
    with grpc.secure_channel(urlsplit(mesh.api).netloc, credentials) as channel:
        get_tweet: Any = channel.unary_unary(
            "/starling.tweet.v1.TweetService/GetTweet",
            tweet_service_pb2.GetTweetRequest.SerializeToString,
        )
        token = ("authorization", ada.headers["Authorization"])
        for metadata in ([], [token], [token, ("x-starling-user-id", ada.user_id)]):
            with pytest.raises(grpc.RpcError) as refusal:
                get_tweet(
                    tweet_service_pb2.GetTweetRequest(tweet_id=1), metadata=metadata, timeout=5
                )
            assert "does not exist" not in str(refusal.value.details())


@pytest.mark.parametrize(
    "headers",
    [
        {"grpc-timeout": "1n"},
        {"grpc-encoding": "unheard-of"},
        {"grpc-status": "13"},
        {"x-odd-bin": "!not base64!"},
        {"x-envoy-upstream-rq-timeout-ms": "1"},
        {"x-envoy-retry-on": "5xx"},
        {"x-envoy-original-path": "/v1/nothing"},
        {"x-forwarded-client-cert": "URI=spiffe://starling/tweet_svc"},
        {"x-forwarded-for": "203.0.113.9"},
        {"x-forwarded-host": "elsewhere"},
        {"te": "trailers"},
        {"x!#$%&'*+.^_`|~": "legal in HTTP"},
        {"X_under_score": "x"},
        {"x-latin": "caf\u00e9"},
        {"traceparent": "nonsense"},
        {"b3": "0"},
        {"accept": "text/html"},
        {"accept-encoding": "br, gzip"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_odd_headers_do_no_harm(ada: Person, headers: dict[str, str]) -> None:
    encoded = [(name, value.encode()) for name, value in {**ada.headers, **headers}.items()]
    answer_of(ada.rest.raw("GET", "/v1/timeline/home", headers=encoded))
    answer_of(ada.rest.raw("POST", "/v1/tweets", json=tweet_body(), headers=encoded))


def test_too_many_headers(ada: Person) -> None:
    refused(ada.raw("GET", "/v1/timeline/home", headers={"x-long": "y" * 70_000}), 431)
    many = {f"x-number-{n}": "y" for n in range(200)}
    refused(ada.raw("GET", "/v1/timeline/home", headers=many), 431)


def test_answers_do_not_speak_of_the_mesh(ada: Person) -> None:
    for path in ("/v1/timeline/home", "/v1/tweets/1", "/nothing"):
        for name in ada.raw("GET", path).headers:
            assert not name.startswith(("grpc-", "x-envoy-", "x-starling-")), name


def test_open_pages(rest: Rest) -> None:
    assert rest.raw("GET", "/healthz").status_code == 200
    document = rest.call("GET", "/openapi.json")
    assert document["openapi"].startswith("3.1")
    for path in ("/docs/", "/docs/index.html"):
        page = rest.raw("GET", path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
    refused(rest.raw("GET", "/healthz?x=1"), 400, field="x")


def _raw_exchange(mesh: Mesh, sent: bytes) -> bytes:
    context = client_context(mesh.ca)
    address = urlsplit(mesh.api)
    with (
        socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as tcp,
        context.wrap_socket(tcp, server_hostname="localhost") as tls,
    ):
        tls.sendall(sent)
        received = b""
        while part := tls.recv(65536):
            received += part
            head, found, body = received.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
            if found and length and len(body) >= int(length[0].split(b":")[1]):
                break
        return received


@pytest.mark.parametrize(
    "head",
    [
        "POST /v1/tweets HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "POST /v1/tweets HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6",
        "GET /v1/users/1%2f2 HTTP/1.1\r\nHost: x",
        "GET /v1/users/%zz HTTP/1.1\r\nHost: x",
        "GET /v1/timeline/home HTTP/1.1\r\nHost: x\r\nBad Header: x",
        "NONSENSE /v1/tweets HTTP/1.1\r\nHost: x",
        "GET /v1/timeline/home HTTP/1.1",
    ],
)
def test_malformed_requests(mesh: Mesh, head: str) -> None:
    received = _raw_exchange(mesh, head.encode() + b"\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 4"), received
    body = json.loads(received.partition(b"\r\n\r\n")[2])
    assert set(body) == {"code", "message", "details"}


def test_nothing_but_tls(mesh: Mesh) -> None:
    address = urlsplit(mesh.api)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as tcp:
        tcp.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert tcp.recv(100) == b""
    context = ssl.create_default_context()
    with (
        socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as tcp,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(tcp, server_hostname="localhost")
