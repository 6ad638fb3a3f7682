"""Profiles, follows, followers and following."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .mesh import FRESH_S, eventually
from .rest import Person, Rest, refused
from .shapes import check_user

Register = Callable[[int], list[Person]]
UNKNOWN_ID = "4611686018427387904"


def test_a_profile_by_id_and_by_name(rest: Rest, register: Register) -> None:
    ada, bob = register(2)
    by_id = bob.call("GET", f"/v1/users/{ada.user_id}")
    assert list(by_id) == ["user"]
    check_user(by_id["user"])
    assert by_id["user"]["user_id"] == ada.user_id
    for name in (ada.username, ada.username.upper()):
        assert bob.call("GET", f"/v1/users/by/username/{name}") == by_id


def test_a_user_that_is_not_there(register: Register) -> None:
    (ada,) = register(1)
    for method, path in (
        ("GET", f"/v1/users/{UNKNOWN_ID}"),
        ("GET", "/v1/users/by/username/never_registered"),
        ("GET", f"/v1/users/{UNKNOWN_ID}/tweets"),
        ("GET", f"/v1/users/{UNKNOWN_ID}/followers"),
        ("GET", f"/v1/users/{UNKNOWN_ID}/following"),
        ("POST", f"/v1/users/{UNKNOWN_ID}/follow"),
        ("DELETE", f"/v1/users/{UNKNOWN_ID}/follow"),
    ):
        refused(ada.raw(method, path), 404, "USER_NOT_FOUND")


@pytest.mark.parametrize("user_id", ["0", "-1", "abc", "1.5", "9223372036854775808", "1e3", "0x1"])
def test_what_is_no_user_id(register: Register, user_id: str) -> None:
    (ada,) = register(1)
    for suffix in ("", "/tweets", "/followers", "/following"):
        refused(ada.raw("GET", f"/v1/users/{user_id}{suffix}"), 400, field="user_id")
    refused(ada.raw("POST", f"/v1/users/{user_id}/follow"), 400)


def test_a_profile_edit_changes_what_it_names(register: Register) -> None:
    ada, bob = register(2)
    path = f"/v1/users/{ada.user_id}"
    before = ada.user()
    edited = ada.call("PATCH", path, json={"display_name": "  Zoe\u0308  "})
    assert edited == {"user": {**before, "display_name": "Zo\u00eb"}}
    edited = ada.call("PATCH", path, json={"bio": "one\ntwo"})
    assert edited == {"user": {**before, "display_name": "Zo\u00eb", "bio": "one\ntwo"}}
    assert bob.call("GET", path) == edited
    assert bob.call("GET", f"/v1/users/by/username/{ada.username}") == edited
    assert ada.call("PATCH", path, json={}) == edited
    assert ada.call("PATCH", path) == edited
    ignored = {
        "username": "changed",
        "user_id": ada.user_id,
        "followers_count": 7,
        "created_at": "",
    }
    assert ada.call("PATCH", path, json=ignored) == edited
    both = ada.call("PATCH", path, json={"display_name": "Ada", "bio": ""})
    assert both == {"user": {**before, "display_name": "Ada", "bio": ""}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", ""),
        ("display_name", "   "),
        ("display_name", "x" * 51),
        ("display_name", "a\nb"),
        ("bio", "x" * 161),
        ("bio", "a\rb"),
    ],
)
def test_a_bad_edit_names_its_field(register: Register, field: str, value: str) -> None:
    (ada,) = register(1)
    before = ada.user()
    answer = ada.raw("PATCH", f"/v1/users/{ada.user_id}", json={field: value})
    refused(answer, 400, "INVALID_FIELD", field)
    assert ada.user() == before


def test_nobody_edits_another(register: Register) -> None:
    ada, bob = register(2)
    before = ada.user()
    refused(bob.raw("PATCH", f"/v1/users/{ada.user_id}", json={"bio": "x"}), 403)
    refused(bob.raw("PATCH", f"/v1/users/{UNKNOWN_ID}", json={"bio": "x"}), 403)
    assert ada.user() == before


def test_following_counts_once(register: Register) -> None:
    ada, bob = register(2)
    path = f"/v1/users/{ada.user_id}/follow"
    for body in (None, {}, {"follower_id": bob.user_id}, {"follower_id": int(bob.user_id)}):
        assert bob.call("POST", path, json=body) == {"success": True}

    def counted() -> bool:
        followed, follower = bob.user(ada), bob.user()
        assert (followed["followers_count"], followed["following_count"]) == (1, 0)
        assert (follower["followers_count"], follower["following_count"]) == (0, 1)
        return True

    eventually(counted, FRESH_S, "the counts of a follow")
    assert [u["user_id"] for u in ada.followers_of(ada)] == [bob.user_id]
    assert [u["user_id"] for u in ada.following_of(bob)] == [ada.user_id]
    assert ada.following_of(ada) == []
    for _ in range(2):
        assert bob.call("DELETE", path) == {"success": True}

    def counted_again() -> bool:
        assert bob.user(ada)["followers_count"] == 0
        assert bob.user()["following_count"] == 0
        return True

    eventually(counted_again, FRESH_S, "the counts of an unfollow")
    assert ada.followers_of(ada) == []


def test_nobody_follows_themselves(register: Register) -> None:
    (ada,) = register(1)
    refused(ada.raw("POST", f"/v1/users/{ada.user_id}/follow"), 400, "CANNOT_FOLLOW_SELF")
    assert ada.followers_of(ada) == []


def test_lists_come_newest_follow_first(register: Register) -> None:
    star, *fans = register(8)
    for fan in fans:
        fan.follow(star)
        star.follow(fan)
    fans[0].follow(star)  # again: it keeps its place
    fans[2].unfollow(star)
    fans[2].follow(star)  # anew: it takes the new place
    order = [*fans[:2], *fans[3:], fans[2]][::-1]
    for limit in (1, 3, 7, 100):
        followers = fans[1].followers_of(star, limit)
        assert [user["user_id"] for user in followers] == [fan.user_id for fan in order]
        following = fans[1].following_of(star, limit)
        assert [user["user_id"] for user in following] == [fan.user_id for fan in fans[::-1]]
    for user in followers:
        check_user(user)
    page = star.call("GET", f"/v1/users/{star.user_id}/followers")
    assert list(page) == ["users", "next_cursor"]
    assert page["next_cursor"] == ""


def test_follows_while_followers_are_paged(register: Register) -> None:
    star, *fans = register(9)
    for fan in fans[:6]:
        fan.follow(star)
    path = f"/v1/users/{star.user_id}/followers"
    page = star.call("GET", path, params={"limit": 2})
    seen = page["users"]
    for fan in fans[6:]:
        fan.follow(star)
    fans[0].unfollow(star)
    while page["next_cursor"]:
        page = star.call("GET", path, params={"limit": 2, "cursor": page["next_cursor"]})
        seen += page["users"]
    assert [user["user_id"] for user in seen] == [fan.user_id for fan in fans[5:0:-1]]
