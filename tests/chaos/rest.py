"""The REST API for many calls at once: each ends with an outcome, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from stack.tls import client_context
from tests.e2e.mesh import Mesh

from .checker import Entry, FeedName, Reading
from .history import Outcome

CALL_TIMEOUT_S = 15.0
"""The edge ends a call after 10 s; it may itself be stopped for longer."""

PAGE = 100
READERS_AT_ONCE = 6
READ_TRIES = 20


@dataclass(frozen=True)
class Person:
    """Who may make calls."""

    user_id: str
    username: str
    token: str


@dataclass(frozen=True)
class Answer:
    """How a call ended. `body` is empty unless the outcome is `ok`."""

    outcome: Outcome
    status: int
    body: dict[str, Any]
    reason: str = ""


class Rest:
    """As many connections as there are calls under way."""

    def __init__(self, mesh: Mesh) -> None:
        self._client = httpx.AsyncClient(
            base_url=mesh.api,
            verify=client_context(mesh.ca),
            timeout=CALL_TIMEOUT_S,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    async def __aenter__(self) -> Rest:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def call(
        self, method: str, path: str, person: Person | None = None, **options: Any
    ) -> Answer:
        """Makes a call. Raises nothing that the network or the mesh may be to blame for."""
        headers = {"Authorization": f"Bearer {person.token}"} if person else {}
        headers |= options.pop("headers", {})
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                response = await self._client.request(method, path, headers=headers, **options)
        except (httpx.HTTPError, TimeoutError) as error:
            return Answer("unknown", 0, {}, type(error).__name__)
        status = response.status_code
        if status == httpx.codes.OK:
            return Answer("ok", status, response.json())
        # The contract: 4xx says that nothing was done. 503 and 504 leave it open.
        return Answer("refused" if status < 500 else "unknown", status, {}, response.text[:500])

    async def must(
        self, method: str, path: str, person: Person | None = None, **options: Any
    ) -> dict[str, Any]:
        """The body of a call that is repeated while it is not answered with success.

        Raises AssertionError when it is refused, or after READ_TRIES.
        """
        for number in range(READ_TRIES):
            answer = await self.call(method, path, person, **options)
            if answer.outcome == "ok":
                return answer.body
            assert answer.outcome == "unknown", f"{method} {path}: {answer.status} {answer.reason}"
            await asyncio.sleep(min(2.0, 0.1 * 2**number))
        raise AssertionError(f"{method} {path}: {answer.status} {answer.reason}")

    async def register(self, username: str) -> Person:
        """A new person."""
        body = {"username": username, "display_name": username, "password": "correct horse"}
        answer = await self.must("POST", "/v1/users", json=body)
        return Person(answer["user"]["user_id"], username, answer["access_token"])

    async def tweets(self, path: str, person: Person) -> AsyncIterator[Entry]:
        """A list of tweets to its end."""
        cursor = ""
        while True:
            page = await self.must("GET", path, person, params={"limit": PAGE, "cursor": cursor})
            for tweet in page["tweets"]:
                yield Entry(
                    tweet["tweet_id"], tweet["created_at"], tweet["user_id"], tweet["content"]
                )
            cursor = page["next_cursor"]
            if not cursor:
                return

    async def read(self, names: Iterable[FeedName], people: dict[str, Person]) -> Reading:
        """These feeds to their end, and the counts of the users whose own timeline is among them."""
        reading = Reading()
        gate = asyncio.Semaphore(READERS_AT_ONCE)

        async def one(name: FeedName) -> None:
            person = people[name.user_id]
            user = f"/v1/users/{name.user_id}"
            async with gate:
                path = f"{user}/tweets" if name.kind == "user" else "/v1/timeline/home"
                reading.feeds[name] = [entry async for entry in self.tweets(path, person)]
                if name.kind == "user":
                    profile = await self.must("GET", user, person)
                    reading.counts[name.user_id] = profile["user"]["tweets_count"]

        await asyncio.gather(*map(one, names))
        return reading
