"""People, follows and tweets for a benchmark, thousands a second.

Written into Cassandra by the services' own statements, as the services write them, but telling nobody:
no event, no fan-out, no recount. So there is no backlog to wait for before measuring. Nobody registers,
because a password's hash takes a core for a tenth of a second; tokens are minted with the mesh's key.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starling.tweet.v1.tweet_events_pb2 import TweetPosted
from starling.tweet.v1.tweet_pb2 import Tweet

from bench.mesh import Mesh, Person
from gateway.access_tokens import AccessTokens, load_signing_keys
from graph_svc.edge_store import Edge
from graph_svc.user_store import Kind, UserStore
from meshkit.background import gather_bounded
from meshkit.cql import CqlSession, Statement
from meshkit.errors import StarlingError
from meshkit.snowflake import EPOCH_MS, created_at, timestamp_ms, wall_clock_ms
from meshkit.write_clock import WriteClock
from stack.demo.quiet import config_of
from tweet_svc.activity_store import ActivityStore
from tweet_svc.tweet_store import posted_rows

AT_ONCE = 24
ATTEMPTS = 6
ROWS_A_BATCH = 30
TOKEN_TTL_S = 7200
WORKER = 1023
"""Of the ids made here: the last that a service would lease."""

Item = tuple[Statement, Sequence[Any]]

_USER = Statement(
    "bench.user",
    "INSERT INTO user (user_id, username, display_name, bio) VALUES (?, ?, ?, ?)",
    idempotent=True,
)


@dataclass
class Crowd:
    """Makes people and what they did; used as `async with crowd(mesh) as ...`."""

    session: CqlSession
    tokens: AccessTokens
    name: str = field(default_factory=lambda: f"b{secrets.token_hex(3)}")
    _made: int = 0
    _last_id: int = 0
    _clock: WriteClock = field(default_factory=WriteClock)

    def next_id(self, at_ms: int | None = None) -> int:
        """An id of that time, or later by as much as it takes to be new."""
        if at_ms is None:
            at_ms = wall_clock_ms()
        self._last_id += 1
        return ((at_ms - EPOCH_MS) << 22) | (WORKER << 12) | (self._last_id & 0xFFF)

    async def people(self, count: int) -> list[Person]:
        """So many new people."""
        now_ms = wall_clock_ms()
        people = []
        for _ in range(count):
            # An hour ago, one a millisecond: unique without asking anybody.
            self._made += 1
            user_id = self.next_id(now_ms - 3_600_000 + self._made)
            username = f"{self.name}_{self._made}"
            people.append(Person(user_id, username, self.tokens.mint(user_id, username)))

        await self._write(
            [(_USER, (each.user_id, each.username, each.username, ""))] for each in people
        )
        return people

    async def follow(self, follows: Mapping[Person, Iterable[Person]]) -> None:
        """Follower -> followees; counts of followers and followees are those of these follows."""
        edges: list[Edge] = []
        followers: dict[int, int] = {}
        for follower, followees in follows.items():
            for followee in followees:
                edges.append(
                    Edge(follower.user_id, followee.user_id, self._clock.next_us(), shard=0)
                )
                followers[followee.user_id] = followers.get(followee.user_id, 0) + 1
        await self._write(edge.puts() for edge in edges)
        users = UserStore(self.session, self._clock)

        async def count(each: tuple[int, Kind, int]) -> None:
            user_id, kind, total = each
            await users.set_total(user_id, kind, 0, total, self._clock.next_us())

        following = {person.user_id: len(list(each)) for person, each in follows.items()}
        counts: list[tuple[int, Kind, int]] = [
            *((user_id, "followers", total) for user_id, total in followers.items()),
            *((user_id, "following", total) for user_id, total in following.items()),
        ]
        await gather_bounded(AT_ONCE, count, counts)

    async def count_followers(self, person: Person, count: int) -> None:
        """From now on the person has so many followers, whatever the edges say."""
        users = UserStore(self.session, self._clock)
        await users.set_total(person.user_id, "followers", 0, count, self._clock.next_us())

    async def tweets(self, authors: Sequence[Person], times_ms: Sequence[int]) -> list[int]:
        """A tweet at each of these times, by the authors in turn; their ids."""
        activity = ActivityStore(self.session)
        ids: list[int] = []
        batches: list[list[Item]] = []
        for number, at_ms in enumerate(times_ms):
            author = authors[number % len(authors)]
            tweet_id = self.next_id(at_ms)
            tweet = Tweet(
                tweet_id=tweet_id,
                user_id=author.user_id,
                username=author.username,
                content=content(number),
                created_at=created_at(tweet_id),
            )
            posted = TweetPosted(tweet=tweet, at_ms=timestamp_ms(tweet_id))
            batches.append([*posted_rows(posted), *activity.posted_rows(posted)])
            activity.written(author.user_id, posted.at_ms)
            ids.append(tweet_id)
        await self._write(batches)
        return ids

    async def _write(self, items: Iterable[Sequence[Item]]) -> None:
        rows = [item for group in items for item in group]
        batches = [rows[at : at + ROWS_A_BATCH] for at in range(0, len(rows), ROWS_A_BATCH)]

        async def write(batch: Sequence[Item]) -> None:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self.session.batch(batch)
                    return
                except StarlingError:  # a busy machine's Cassandra; a batch may be written twice
                    if attempt == ATTEMPTS:
                        raise
                    await asyncio.sleep(attempt)

        await gather_bounded(AT_ONCE, write, batches)


def content(number: int) -> str:
    """Eighty characters that were posted by nobody else."""
    return f"{number:06d} {secrets.token_hex(6)} ".ljust(80, "x")


@asynccontextmanager
async def crowd(mesh: Mesh) -> AsyncIterator[Crowd]:
    """Connected to the stores of the mesh that runs."""
    session = await CqlSession.open(config_of(mesh.status))
    try:
        tokens = AccessTokens(
            load_signing_keys(mesh.run.keys / "jwt.pem"),
            issuer=mesh.setting("JWT_ISSUER", "starling"),
            audience=mesh.setting("JWT_AUDIENCE", "starling-api"),
            ttl_s=TOKEN_TTL_S,
        )
        yield Crowd(session, tokens)
    finally:
        await session.close()
