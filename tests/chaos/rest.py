"""The REST API for many calls at once: each ends with an outcome, whatever happens to it."""

from __future__ import annotations

import asyncio
import http
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from stack.tls import client_context
from tests.e2e.mesh import Mesh

from .checker import Entry, FeedName, Reading
from .connections import Connections, NoAnswerError
from .history import Outcome

Json = dict[str, Any]

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
    body: Json
    reason: str = ""


class Rest:
    """The calls."""

    def __init__(self, mesh: Mesh) -> None:
        port = int(mesh.api.rpartition(":")[2])
        self._connections = Connections(port, client_context(mesh.ca))

    async def __aenter__(self) -> Rest:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connections.close()

    async def call(
        self,
        method: str,
        path: str,
        person: Person | None = None,
        *,
        body: Json | None = None,
        key: str = "",
    ) -> Answer:
        """Makes a call. Raises nothing that the network or the mesh may be to blame for."""
        try:
            status, content = await self._connections.ask(
                method, path, token=person.token if person else "", body=body, key=key
            )
        except NoAnswerError as error:
            return Answer("unknown", 0, {}, str(error))
        if status == http.HTTPStatus.OK:
            return Answer("ok", status, json.loads(content))
        # The contract: 4xx says that nothing was done. 503 and 504 leave it open.
        outcome: Outcome = "refused" if status < 500 else "unknown"
        return Answer(outcome, status, {}, content[:500].decode(errors="replace"))

    async def must(
        self, method: str, path: str, person: Person | None = None, *, body: Json | None = None
    ) -> Json:
        """The body of a call that is repeated while it is not answered with success.

        Raises AssertionError when it is refused, or after READ_TRIES.
        """
        for number in range(READ_TRIES):
            answer = await self.call(method, path, person, body=body)
            if answer.outcome == "ok":
                return answer.body
            assert answer.outcome == "unknown", f"{method} {path}: {answer.status} {answer.reason}"
            await asyncio.sleep(min(2.0, 0.1 * 2**number))
        raise AssertionError(f"{method} {path}: {answer.status} {answer.reason}")

    async def register(self, username: str) -> Person:
        """A new person."""
        body = {"username": username, "display_name": username, "password": "correct horse"}
        answer = await self.must("POST", "/v1/users", body=body)
        return Person(answer["user"]["user_id"], username, answer["access_token"])

    async def tweets(self, path: str, person: Person) -> AsyncIterator[Entry]:
        """A list of tweets to its end."""
        cursor = ""
        while True:
            query = urlencode({"limit": PAGE, "cursor": cursor})
            page = await self.must("GET", f"{path}?{query}", person)
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
