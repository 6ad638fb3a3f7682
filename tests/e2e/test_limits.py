"""Limits that are settings: the mesh runs with small ones."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from .mesh import Mesh, eventually
from .rest import PASSWORD, Person, Rest, answer_of, refused
from .shapes import check_signed_in

USER_RPS, IP_RPS, AUTH_PER_MIN = 5, 30, 8


def too_many(answer: httpx.Response) -> int:
    """Checks a refusal for calling too often; after how many seconds to try again."""
    error = refused(answer, 429)
    assert error["code"] == 8
    seconds = answer.headers["retry-after"]
    assert seconds.isdigit()
    assert int(seconds) >= 1
    return int(seconds)


def test_how_long_a_token_lives_and_a_tweet_is(mesh: Mesh, rest: Rest) -> None:
    """First in this module: the limits are still large."""
    with mesh.settings(ACCESS_TOKEN_TTL_S="2", TWEET_MAX_CHARS="280"):
        body = {"username": f"l_{secrets.token_hex(6)}", "display_name": "L", "password": PASSWORD}
        answer = rest.call("POST", "/v1/users", json=body)
        check_signed_in(answer, expires_in=2)
        ada = rest.person(answer)
        tweet_id = ada.post(secrets.token_hex(140))
        refused(ada.raw("POST", "/v1/tweets", json={"content": "x" * 281}), 400, field="content")

        def over() -> bool:
            return ada.raw("GET", "/v1/timeline/home").status_code == 401

        eventually(over, 63, "the end of the access token", every_s=0.5)
        renewed = rest.call("POST", "/v1/auth/refresh", json={"refresh_token": ada.refresh_token})
        ada = rest.person(renewed)
        assert len(ada.tweet(tweet_id)["content"]) == 280
    # A tweet that was posted under the larger limit stays whole under the smaller.
    login = {"username": ada.username, "password": PASSWORD}
    again = rest.person(rest.call("POST", "/v1/auth/login", json=login))
    assert len(again.tweet(tweet_id)["content"]) == 280
    refused(again.raw("POST", "/v1/tweets", json={"content": "x" * 141}), 400, field="content")


@pytest.fixture(scope="module")
def people(rest: Rest) -> list[Person]:
    """Registered while that was not limited."""
    return [rest.register() for _ in range(8)]


@pytest.fixture(scope="module")
def small(mesh: Mesh, people: list[Person]) -> Iterator[None]:
    """Small limits."""
    with mesh.settings(
        RATE_LIMIT_USER_RPS=str(USER_RPS),
        RATE_LIMIT_IP_RPS=str(IP_RPS),
        RATE_LIMIT_AUTH_PER_MIN=str(AUTH_PER_MIN),
    ):
        yield


@pytest.mark.usefixtures("small")
def test_a_users_rate(people: list[Person]) -> None:
    ada, bob, *_ = people
    answers = [ada.raw("GET", "/v1/timeline/popular") for _ in range(2 * USER_RPS + 6)]
    refusals = [answer for answer in answers if answer.status_code != 200]
    assert refusals
    assert all(answer.status_code == 200 for answer in answers[: 2 * USER_RPS])
    wait_s = max(too_many(answer) for answer in refusals)
    answer_of(bob.raw("GET", "/v1/timeline/popular"))
    time.sleep(wait_s)  # what Retry-After says is enough
    answer_of(ada.raw("GET", "/v1/timeline/popular"))


@pytest.mark.usefixtures("small")
def test_an_addresss_passwords(rest: Rest, people: list[Person]) -> None:
    """Before the flood that empties the address's own bucket."""

    def login(name: str) -> httpx.Response:
        body = {"username": name, "password": "not the password"}
        return rest.raw("POST", "/v1/auth/login", json=body)

    answers = [login(people[n % 8].username) for n in range(AUTH_PER_MIN)]
    assert [answer.status_code for answer in answers] == [401] * AUTH_PER_MIN
    too_many(login(people[0].username))
    refresh = {"refresh_token": people[0].refresh_token}
    too_many(rest.raw("POST", "/v1/auth/refresh", json=refresh))
    new = {"username": f"l_{secrets.token_hex(6)}", "display_name": "L", "password": PASSWORD}
    too_many(rest.raw("POST", "/v1/users", json=new))
    answer_of(people[3].raw("GET", "/v1/timeline/home"))


@pytest.mark.usefixtures("small")
def test_an_addresss_rate(rest: Rest, people: list[Person]) -> None:
    eventually(lambda: rest.raw("GET", "/healthz").status_code == 200, 5)
    statuses: Counter[int] = Counter()

    def forged() -> httpx.Response:
        return rest.raw("GET", "/v1/timeline/home", headers={"Authorization": "Bearer forged"})

    for _ in range(20 * IP_RPS):
        answer = forged()
        statuses[answer.status_code] += 1
        if answer.status_code == 429:
            too_many(answer)
            break
    assert set(statuses) == {401, 429}, "floods of bad tokens count"

    # The bucket fills by one every 1/IP_RPS s, so that one request or another still passes. Nobody
    # here asks often enough to meet the limit of a user.
    def under_flood(person: Person) -> httpx.Response:
        forged()
        return person.raw("GET", "/v1/timeline/home")

    answers = (under_flood(person) for _ in range(USER_RPS) for person in people[2:])
    too_many(next(answer for answer in answers if answer.status_code == 429))
    eventually(lambda: people[2].raw("GET", "/v1/timeline/home").status_code == 200, 5)
