"""The load: posts at a fixed rate whatever happens to them, reads beside them, each recorded.

A post without an answer is repeated with its key, as clients do; some are given up at once, so that the
check sees those too. Some acknowledged posts are repeated (the answer must be the same), some are deleted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .crowd import Crowd
from .history import Attempt, History, Kind, Outcome
from .rest import Answer, Person, Rest

IN_FLIGHT = 400
"""Requests under way at most; what is due beyond is skipped, and counted."""

PATIENCE = 6
"""How often a post without an answer is tried in all."""

LONGEST_PAUSE_S = 8.0
TURN_S = 0.002


@dataclass(frozen=True)
class Rates:
    """Requests a second, and what becomes of posts."""

    posts: float = 30.0
    homes: float = 12.0
    user_timelines: float = 2.0
    profiles: float = 2.0
    logins: float = 0.25
    repeated: float = 0.5
    """The share of posts without an answer that are repeated."""
    replayed: float = 0.03
    """The share of acknowledged posts that are sent again."""
    deleted: float = 0.03


class Workload:
    """`run` ends when `stop` was called and everything under way has ended."""

    def __init__(
        self, rest: Rest, crowd: Crowd, history: History, rates: Rates, chance: random.Random
    ) -> None:
        self._rest = rest
        self._crowd = crowd
        self._history = history
        self._rates = rates
        self._chance = chance
        self._run = crowd.authors[0].user_id
        self._posts = 0
        self._over = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as loops:
            for rate, call in (
                (self._rates.posts, self._post),
                (self._rates.homes, self._read_home),
                (self._rates.user_timelines, self._read_user_timeline),
                (self._rates.profiles, self._read_profile),
                (self._rates.logins, self._log_in),
            ):
                if rate:
                    loops.create_task(self._open_loop(rate, call))
        while self._under_way:
            await asyncio.gather(*self._under_way)

    def stop(self) -> None:
        """No new requests, but repeats of those under way."""
        self._over.set()

    async def _open_loop(self, rate: float, call: Callable[[float], Awaitable[None]]) -> None:
        started, turn = self._history.now(), 0
        while not self._over.is_set():
            due = started + turn / rate
            if (early_s := due - self._history.now()) > 0:
                await asyncio.sleep(max(TURN_S, early_s))
                continue
            turn += 1
            if len(self._under_way) >= IN_FLIGHT:
                self._history.skipped += 1
                await asyncio.sleep(0)
                continue
            task = asyncio.ensure_future(call(due))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _post(self, due: float) -> None:
        self._posts += 1
        author = self._chance.choice(self._crowd.authors)
        key = f"{self._run}-{self._posts}"
        content = f"Tweet {key} weathers the storm"
        patient = self._chance.random() < self._rates.repeated
        fate = self._chance.random()
        answer = await self._try_post(due, author, key, content, 1)
        number = 1
        while answer.outcome == "unknown" and patient and number < PATIENCE:
            await self._pause(number)
            number += 1
            answer = await self._try_post(self._history.now(), author, key, content, number)
        if answer.outcome != "ok":
            return
        tweet_id = str(answer.body["tweet_id"])
        if fate < self._rates.replayed:
            await self._pause(4)
            await self._try_post(self._history.now(), author, key, content, number + 1)
        elif fate < self._rates.replayed + self._rates.deleted:
            await self._delete(author, key, tweet_id)

    async def replay(self, attempt: Attempt) -> None:
        """Sends an earlier post again, with its key."""
        author = self._crowd.people[attempt.user_id]
        number = attempt.number + 1
        for _ in range(PATIENCE):
            answer = await self._try_post(
                self._history.now(), author, attempt.key, attempt.content, number
            )
            if answer.outcome == "ok":
                return
            await self._pause(number)

    async def _try_post(
        self, due: float, author: Person, key: str, content: str, number: int
    ) -> Answer:
        answer = await self._rest.call(
            "POST", "/v1/tweets", author, body={"content": content}, key=key
        )
        self._note("post", due, author, answer, key=key, content=content, number=number)
        return answer

    async def _delete(self, author: Person, key: str, tweet_id: str) -> None:
        await self._pause(2)
        for number in range(1, PATIENCE + 1):
            due = self._history.now()
            answer = await self._rest.call("DELETE", f"/v1/tweets/{tweet_id}", author)
            outcome: Outcome = answer.outcome
            # An attempt had deleted it: one without an answer, or one that the edge repeated because the
            # instance went away. If that is not true, the check finds it where it must not be.
            if answer.status == 404:
                outcome = "ok"
            self._note(
                "delete", due, author, answer, outcome=outcome, key=key, tweet_id=tweet_id,
                number=number,
            )  # fmt: skip
            if outcome != "unknown":
                return
            await self._pause(number)

    async def _read_home(self, due: float) -> None:
        # A third of the readers never look: their timelines are built when the check reads them.
        looking = self._crowd.readers[: max(1, 2 * len(self._crowd.readers) // 3)]
        person = self._chance.choice(looking + self._crowd.authors)
        await self._read("home", due, person, "/v1/timeline/home")

    async def _read_user_timeline(self, due: float) -> None:
        author = self._chance.choice(self._crowd.authors)
        await self._read("user_timeline", due, author, f"/v1/users/{author.user_id}/tweets")

    async def _read_profile(self, due: float) -> None:
        author = self._chance.choice(self._crowd.authors)
        await self._read("profile", due, author, f"/v1/users/{author.user_id}")

    async def _log_in(self, due: float) -> None:
        person = self._chance.choice(self._crowd.readers)
        body = {"username": person.username, "password": "correct horse"}
        answer = await self._rest.call("POST", "/v1/auth/login", body=body)
        self._note("login", due, person, answer)

    async def _read(self, kind: Kind, due: float, person: Person, path: str) -> None:
        self._note(kind, due, person, await self._rest.call("GET", path, person))

    def _note(self, kind: Kind, due: float, person: Person, answer: Answer, **more: Any) -> None:
        if kind == "post" and answer.outcome == "ok":
            more["tweet_id"] = str(answer.body["tweet_id"])
        more.setdefault("outcome", answer.outcome)
        self._history.record(
            Attempt(
                kind,
                round(due, 4),
                round(self._history.now(), 4),
                status=answer.status,
                user_id=person.user_id,
                reason=answer.reason,
                **more,
            )
        )

    async def _pause(self, step: int) -> None:
        most_s = min(LONGEST_PAUSE_S, 0.5 * 2**step)
        await asyncio.sleep(self._chance.uniform(0.5, 1.0) * most_s)
