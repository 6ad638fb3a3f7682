"""Who posts, who reads, and who follows whom: the same for the same seed."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from .checker import FeedName
from .rest import Person, Rest

REGISTER_AT_ONCE = 4


@dataclass(frozen=True)
class Size:
    """How many people. Celebrities are the first of the authors; everyone follows all of them."""

    authors: int = 24
    celebrities: int = 3
    readers: int = 16
    followees: int = 5
    """How many other authors a reader follows."""

    @property
    def celebrity_followers(self) -> int:
        """A line that celebrities are above and all others below: CELEBRITY_FOLLOWERS."""
        return self.readers


@dataclass(frozen=True)
class Crowd:
    """Authors post. Readers follow; authors follow the next author, and have feeds too."""

    authors: list[Person]
    readers: list[Person]
    follows: dict[str, list[str]]

    @property
    def people(self) -> dict[str, Person]:
        """All, by id."""
        return {person.user_id: person for person in (*self.authors, *self.readers)}

    @property
    def feeds(self) -> list[FeedName]:
        """Every author's user timeline, and everybody's home timeline."""
        users = [FeedName("user", author.user_id) for author in self.authors]
        return users + [FeedName("home", user_id) for user_id in self.people]


def choose(size: Size, chance: random.Random) -> list[tuple[int, int]]:
    """Who follows whom, as numbers: authors are 0 and up, readers come after them."""
    edges = []
    ordinary = range(size.celebrities, size.authors)
    followers = dict.fromkeys(ordinary, 0)
    for reader in range(size.authors, size.authors + size.readers):
        edges += [(reader, celebrity) for celebrity in range(size.celebrities)]
        # Nobody else may reach the celebrities' line: leave room for the author who follows them.
        open_to = [a for a in ordinary if followers[a] < size.celebrity_followers - 2]
        for author in chance.sample(open_to, min(size.followees, len(open_to))):
            followers[author] += 1
            edges.append((reader, author))
    edges += [(author, (author + 1) % size.authors) for author in range(size.authors)]
    return edges


async def gather(rest: Rest, size: Size, chance: random.Random) -> Crowd:
    """Registers them, and lets them follow."""
    run = secrets.token_hex(3)
    gate = asyncio.Semaphore(REGISTER_AT_ONCE)

    async def register(number: int) -> Person:
        async with gate:
            return await rest.register(f"chaos_{run}_{number}")

    people = await asyncio.gather(*map(register, range(size.authors + size.readers)))
    edges = choose(size, chance)

    async def follow(edge: tuple[int, int]) -> None:
        async with gate:
            follower, followee = people[edge[0]], people[edge[1]]
            await rest.must("POST", f"/v1/users/{followee.user_id}/follow", follower, body={})

    await asyncio.gather(*map(follow, edges))
    return Crowd(
        list(people[: size.authors]), list(people[size.authors :]), _follows(people, edges)
    )


def _follows(people: Iterable[Person], edges: list[tuple[int, int]]) -> dict[str, list[str]]:
    ids = [person.user_id for person in people]
    follows: dict[str, list[str]] = {user_id: [] for user_id in ids}
    for follower, followee in edges:
        follows[ids[follower]].append(ids[followee])
    return follows
