"""Whom a call is for: the token's subject, whatever else a client writes, and whatever the path names."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .mesh import eventually
from .rest import Person, Rest, answer_of, refused

Register = Callable[[int], list[Person]]

SPELLINGS = {
    "user_id": ("user_id", "userId"),
    "follower_id": ("follower_id", "followerId"),
}
# Every call that takes a token, with a body that does it.
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/auth/logout", {"refresh_token": "unknown"}),
    ("GET", "/v1/users/{other}", {}),
    ("GET", "/v1/users/by/username/{name}", {}),
    ("PATCH", "/v1/users/{me}", {"bio": "taken over"}),
    ("PATCH", "/v1/users/{other}", {"bio": "taken over"}),
    ("GET", "/v1/users/{other}/tweets", {}),
    ("GET", "/v1/users/{other}/followers", {}),
    ("GET", "/v1/users/{other}/following", {}),
    ("POST", "/v1/users/{other}/follow", {}),
    ("DELETE", "/v1/users/{other}/follow", {}),
    ("POST", "/v1/tweets", {"content": "not mine"}),
    ("GET", "/v1/tweets/{tweet}", {}),
    ("DELETE", "/v1/tweets/{tweet}", {}),
    ("POST", "/v1/tweets/{tweet}/like", {}),
    ("DELETE", "/v1/tweets/{tweet}/like", {}),
    ("POST", "/v1/tweets/{tweet}/retweet", {}),
    ("DELETE", "/v1/tweets/{tweet}/retweet", {}),
    ("GET", "/v1/timeline/home", {}),
    ("GET", "/v1/timeline/popular", {}),
]


@pytest.fixture(scope="module")
def ada(rest: Rest) -> Person:
    """The caller."""
    return rest.register()


@pytest.fixture(scope="module")
def bob(rest: Rest) -> Person:
    """Whom the caller is not."""
    return rest.register()


@pytest.fixture(scope="module")
def tweet(ada: Person) -> str:
    """The caller's, which nobody has liked; it has been counted."""
    posted = ada.post(f"tweet {secrets.token_hex(5)}")
    eventually(lambda: ada.user()["tweets_count"] == 1, 30, "the count")
    return posted


def tweet_body() -> dict[str, Any]:
    return {"content": f"tweet {secrets.token_hex(5)}"}


def state(ada: Person, bob: Person, tweet: str) -> list[Any]:
    """All that a call of CALLS could change."""
    return [
        *(person.user() for person in (ada, bob)),
        *(person.home() for person in (ada, bob)),
        ada.following_of(ada),
        ada.following_of(bob),
        ada.tweet(tweet),
        bob.tweet(tweet),
    ]


def anothers(name: str, value: str) -> Iterator[dict[str, Any]]:
    """A request's parts with `value` under `name`, in every spelling."""
    for spelled in SPELLINGS[name]:
        first = f"%{ord(spelled[0]):x}"
        yield {"params": {spelled: value}}
        yield {"query": f"{first}{spelled[1:]}={value}"}
        yield {"json": {spelled: value}}
        yield {"json": {spelled: int(value)}}
        yield {"escaped": f'"\\u{ord(spelled[0]):04x}{spelled[1:]}":"{value}"'}


@pytest.mark.parametrize("name", sorted(SPELLINGS))
@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_nobody_acts_as_another(
    ada: Person, bob: Person, tweet: str, method: str, path: str, body: dict[str, Any], name: str
) -> None:
    path = path.format(me=ada.user_id, other=bob.user_id, name=bob.username, tweet=tweet)
    before = state(ada, bob, tweet)
    for parts in anothers(name, bob.user_id):
        query = parts.pop("query", "")
        content = parts.pop("escaped", "")
        if "json" in parts:
            parts["json"] = {**body, **parts["json"]}
        elif content:
            known = "".join(f',"{key}":"{value}"' for key, value in body.items())
            parts["content"] = f"{{{content}{known}}}"
        elif body:
            parts["json"] = body
        answer = ada.raw(method, f"{path}?{query}" if query else path, **parts)
        refused(answer, 403, "IDENTITY_MISMATCH")
    own_and_anothers = {**body, name: ada.user_id, SPELLINGS[name][1]: bob.user_id}
    refused(ada.raw(method, path, json=own_and_anothers), 403, "IDENTITY_MISMATCH")
    twice = f"{name}={ada.user_id}&{name}={bob.user_id}"
    refused(ada.raw(method, f"{path}?{twice}", json=body or None), 403, "IDENTITY_MISMATCH")
    assert state(ada, bob, tweet) == before


@pytest.mark.parametrize("value", ["abc", "", 0, 1.5, True, [], {}])
def test_what_is_no_id_is_nobodys(ada: Person, value: Any) -> None:
    answer = ada.raw("POST", "/v1/tweets", json={**tweet_body(), "user_id": value})
    refused(answer, 403, "IDENTITY_MISMATCH")


@pytest.mark.parametrize("name", ["user_id", "userId", "follower_id", "followerId"])
def test_ones_own_id_changes_nothing(register: Register, name: str) -> None:
    """Where the path names another user it is that user who is meant."""
    ada, bob = register(2)
    own, number = {name: ada.user_id}, {name: int(ada.user_id)}
    follow = f"/v1/users/{bob.user_id}/follow"
    answer_of(ada.raw("POST", follow, params=own, json=own))
    assert [user["user_id"] for user in ada.following_of(ada)] == [bob.user_id]
    assert answer_of(ada.raw("GET", f"/v1/users/{bob.user_id}", params=own))["user"] == bob.user()
    followers = ada.raw("GET", f"/v1/users/{bob.user_id}/followers", params=own)
    assert [user["user_id"] for user in answer_of(followers)["users"]] == [ada.user_id]
    answer_of(ada.raw("DELETE", follow, params=own, json=number))
    assert ada.following_of(ada) == []
    answer_of(ada.raw("PATCH", f"/v1/users/{ada.user_id}", params=own, json={**own, "bio": "b"}))
    assert ada.user()["bio"] == "b"
    refused(ada.raw("PATCH", f"/v1/users/{bob.user_id}", json={**own, "bio": "b"}), 403)
    assert bob.user()["bio"] == ""
    posted = answer_of(ada.raw("POST", "/v1/tweets", params=own, json={**tweet_body(), **number}))
    assert ada.tweet(posted["tweet_id"])["user_id"] == ada.user_id
    listed = answer_of(ada.raw("GET", f"/v1/users/{bob.user_id}/tweets", params=own))
    assert listed["tweets"] == []
    home = answer_of(ada.raw("GET", "/v1/timeline/home", params={**own, "limit": 5}))
    assert [tweet["tweet_id"] for tweet in home["tweets"]] == [posted["tweet_id"]]
    answer_of(ada.raw("POST", "/v1/auth/logout", json={"refresh_token": "unknown", name: None}))


@pytest.mark.parametrize("name", ["tweet_id", "tweetId"])
@pytest.mark.parametrize("what", ["like", "retweet"])
def test_nothing_changes_which_tweet_a_path_names(ada: Person, name: str, what: str) -> None:
    meant, other = ada.post(tweet_body()["content"]), ada.post(tweet_body()["content"])
    flag = {"like": "liked", "retweet": "retweeted"}[what]
    for method in ("POST", "DELETE"):
        answer_of(ada.raw(method, f"/v1/tweets/{meant}/{what}", json={name: other}))
        refused(ada.raw(method, f"/v1/tweets/{meant}/{what}?{name}={other}"), 400, field="tweet_id")
        assert ada.tweet(meant)[flag] is (method == "POST")
        assert ada.tweet(other)[flag] is False
    answer_of(ada.raw("DELETE", f"/v1/tweets/{meant}", json={name: other}))
    answer = answer_of(ada.raw("GET", f"/v1/tweets/{other}", json={name: meant}))
    assert answer["tweet"]["tweet_id"] == other


@pytest.mark.parametrize(
    "header", ["x-starling-user-id", "X-Starling-User-Id", "x_starling_user_id", "x-user-id"]
)
def test_no_header_makes_somebody_another(
    rest: Rest, ada: Person, bob: Person, header: str
) -> None:
    spoofed = {header: bob.user_id, "x-starling-username": bob.username}
    refused(rest.raw("GET", "/v1/timeline/home", headers=spoofed), 401)
    answer = answer_of(ada.raw("POST", "/v1/tweets", json=tweet_body(), headers=spoofed))
    tweet = ada.tweet(answer["tweet_id"])
    assert (tweet["user_id"], tweet["username"]) == (ada.user_id, ada.username)
