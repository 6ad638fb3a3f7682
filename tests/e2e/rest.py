"""The REST API as a client sees it: people with their tokens, calls, and pages of lists."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from stack.tls import client_context

Answer = dict[str, Any]

PASSWORD = "correct horse battery"
CALL_TIMEOUT_S = 15.0


@dataclass(eq=False)
class Person:
    """Somebody who registered, and may make calls."""

    rest: Rest
    user_id: str
    username: str
    access_token: str
    refresh_token: str
    display_name: str

    @property
    def headers(self) -> dict[str, str]:
        """What says who calls."""
        return {"Authorization": f"Bearer {self.access_token}"}

    def raw(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """A call with this person's token, whatever the answer."""
        headers = {**self.headers, **kwargs.pop("headers", {})}
        return self.rest.raw(method, path, headers=headers, **kwargs)

    def call(self, method: str, path: str, **kwargs: Any) -> Answer:
        """A call with this person's token that must succeed."""
        return answer_of(self.raw(method, path, **kwargs))

    def post(self, content: str, **fields: Any) -> str:
        """Posts a tweet; its id."""
        return str(self.call("POST", "/v1/tweets", json={"content": content, **fields})["tweet_id"])

    def delete(self, tweet_id: str) -> None:
        """Deletes an own tweet."""
        assert self.call("DELETE", f"/v1/tweets/{tweet_id}") == {"success": True}

    def follow(self, other: Person) -> None:
        """Follows."""
        assert self.call("POST", f"/v1/users/{other.user_id}/follow") == {"success": True}

    def unfollow(self, other: Person) -> None:
        """Unfollows."""
        assert self.call("DELETE", f"/v1/users/{other.user_id}/follow") == {"success": True}

    def like(self, tweet_id: str) -> None:
        """Likes a tweet."""
        assert self.call("POST", f"/v1/tweets/{tweet_id}/like") == {"success": True}

    def unlike(self, tweet_id: str) -> None:
        """Takes a like back."""
        assert self.call("DELETE", f"/v1/tweets/{tweet_id}/like") == {"success": True}

    def retweet(self, tweet_id: str) -> None:
        """Retweets a tweet."""
        assert self.call("POST", f"/v1/tweets/{tweet_id}/retweet") == {"success": True}

    def unretweet(self, tweet_id: str) -> None:
        """Takes a retweet back."""
        assert self.call("DELETE", f"/v1/tweets/{tweet_id}/retweet") == {"success": True}

    def tweet(self, tweet_id: str) -> Answer:
        """A tweet as this person sees it."""
        found: Answer = self.call("GET", f"/v1/tweets/{tweet_id}")["tweet"]
        return found

    def user(self, other: Person | None = None) -> Answer:
        """A user's profile; their own without an argument."""
        found: Answer = self.call("GET", f"/v1/users/{(other or self).user_id}")["user"]
        return found

    def home(self, limit: int = 100) -> list[Answer]:
        """The whole home timeline."""
        return list(self.pages("/v1/timeline/home", "tweets", limit))

    def home_ids(self, limit: int = 100) -> list[str]:
        """The tweet ids of the whole home timeline."""
        return [tweet["tweet_id"] for tweet in self.home(limit)]

    def timeline_of(self, other: Person, limit: int = 100) -> list[Answer]:
        """A user's whole timeline."""
        return list(self.pages(f"/v1/users/{other.user_id}/tweets", "tweets", limit))

    def followers_of(self, other: Person, limit: int = 100) -> list[Answer]:
        """All who follow a user."""
        return list(self.pages(f"/v1/users/{other.user_id}/followers", "users", limit))

    def following_of(self, other: Person, limit: int = 100) -> list[Answer]:
        """All whom a user follows."""
        return list(self.pages(f"/v1/users/{other.user_id}/following", "users", limit))

    def popular(self, k: int = 50) -> list[Answer]:
        """The most popular tweets of their feed."""
        found: list[Answer] = self.call("GET", "/v1/timeline/popular", params={"k": k})["tweets"]
        return found

    def pages(self, path: str, items: str, limit: int) -> Iterator[Answer]:
        """The items of all pages of a list; each page but the last must be full."""
        cursor = ""
        while True:
            page = self.call("GET", path, params={"limit": limit, "cursor": cursor})
            yield from page[items]
            cursor = page["next_cursor"]
            if not cursor:
                assert len(page[items]) <= limit
                return
            assert len(page[items]) == limit, "a page that is not the last is not full"


@dataclass
class Rest:
    """Calls through the edge. Threads may share it."""

    api: str
    ca: Path
    _client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self._client = httpx.Client(
            base_url=self.api,
            verify=client_context(self.ca),
            timeout=httpx.Timeout(CALL_TIMEOUT_S, pool=60),
            limits=httpx.Limits(max_connections=64, keepalive_expiry=60),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def raw(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """A call, whatever the answer."""
        try:
            return self._client.request(method, path, **kwargs)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.ConnectError):
            if method != "GET":  # an idle connection that the edge closed: GET is safe to repeat
                raise
            return self._client.request(method, path, **kwargs)

    def call(self, method: str, path: str, **kwargs: Any) -> Answer:
        """A call without a token that must succeed."""
        return answer_of(self.raw(method, path, **kwargs))

    def register(self, username: str | None = None, **fields: Any) -> Person:
        """A new person."""
        username = username or f"p_{secrets.token_hex(6)}"
        body = {
            "username": username,
            "display_name": f"Person {username}",
            "password": PASSWORD,
            **fields,
        }
        return self.person(self.call("POST", "/v1/users", json=body))

    def person(self, signed_in: Mapping[str, Any]) -> Person:
        """Whom a registration, login or refresh answered."""
        user = signed_in["user"]
        return Person(
            self,
            user["user_id"],
            user["username"],
            signed_in["access_token"],
            signed_in["refresh_token"],
            user["display_name"],
        )


def answer_of(response: httpx.Response) -> Answer:
    """The JSON object of an answer with status 200."""
    request = response.request
    assert response.status_code == httpx.codes.OK, (
        f"{request.method} {request.url.raw_path.decode()}: {response.status_code} {response.text}"
    )
    assert response.headers["content-type"] == "application/json"
    answer: Answer = response.json()
    return answer


def refused(
    response: httpx.Response, status: int, reason: str | None = None, field: str | None = None
) -> Answer:
    """Checks that an answer is an error in the contract's one form; the error.

    `field` must be named by a BadRequest violation.
    """
    request = response.request
    told = (
        f"{request.method} {request.url.raw_path.decode()}: {response.status_code} {response.text}"
    )
    assert response.status_code == status, told
    assert response.headers["content-type"] == "application/json", told
    error: Answer = response.json()
    assert list(error) == ["code", "message", "details"], told
    assert isinstance(error["code"], int), told
    assert error["code"] > 0, told
    assert isinstance(error["message"], str), told
    assert error["message"], told
    assert isinstance(error["details"], list), told
    assert not any(word in response.text for word in ("Traceback", 'File \\"', ".py")), told
    infos = [d for d in error["details"] if d["@type"].endswith("google.rpc.ErrorInfo")]
    assert len(infos) == 1, told
    assert set(infos[0]) >= {"@type", "reason", "domain"}, told
    if reason:
        assert infos[0]["reason"] == reason, told
    if field:
        assert field in violations(error), told
    if status == 400:
        assert violations(error), told
    return error


def violations(error: Answer) -> dict[str, str]:
    """The fields that an error names, with what is wrong."""
    return {
        violation["field"]: violation["description"]
        for detail in error["details"]
        if detail["@type"].endswith("google.rpc.BadRequest")
        for violation in detail["field_violations"]
    }
