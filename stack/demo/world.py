"""What was really done on the mesh, with the ids and times it answered: all that the oracle knows.

Kept as JSON in `demo/` of the run directory, readable by its owner alone: it holds people's tokens.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import orjson

from stack.demo import graph
from stack.errors import StackError


@dataclass
class Person:
    """An account. `number` is the person's in the graph."""

    number: int
    user_id: int
    username: str
    token: str
    token_expires_s: float


@dataclass
class Tweet:
    """A tweet as its post was answered; `deleted` if it was taken away again."""

    tweet_id: int
    author: int
    content: str
    created_at: str
    deleted: bool = False


@dataclass
class Retweet:
    """A retweet that stands. Its time is the mesh's own, between the two here (milliseconds since 1970):
    when the call was sent and when it was answered.
    """

    actor: int
    tweet_id: int
    sent_ms: int
    answered_ms: int


@dataclass
class Like:
    """A like that stands."""

    actor: int
    tweet_id: int


@dataclass
class World:
    """All that one run of the demo did. People are named by their numbers in the graph."""

    name: str
    """What the usernames of this run begin with."""
    seed: int
    password: str
    friendships: list[graph.Friendship]
    people: list[Person] = field(default_factory=list)
    tweets: list[Tweet] = field(default_factory=list)
    likes: list[Like] = field(default_factory=list)
    retweets: list[Retweet] = field(default_factory=list)

    @cached_property
    def followees(self) -> Mapping[int, list[int]]:
        """Person -> whom they follow."""
        return graph.followees(self.friendships)

    @cached_property
    def person(self) -> Mapping[int, Person]:
        """Everybody, by number. To be asked for only once all are registered."""
        return {person.number: person for person in self.people}

    @cached_property
    def deliveries(self) -> int:
        """Entries that the fan-out was to place: each tweet with its author and their followers, each
        retweet of another's tweet with the followers of who made it.
        """
        authors = {tweet.tweet_id: tweet.author for tweet in self.tweets}
        posts = sum(1 + len(self.followees[tweet.author]) for tweet in self.tweets)
        return posts + sum(
            len(self.followees[retweet.actor])
            for retweet in self.retweets
            if authors[retweet.tweet_id] != retweet.actor
        )


def write(world: World, path: Path) -> None:
    """Replaces the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as output:
        output.write(orjson.dumps(asdict(world), option=orjson.OPT_INDENT_2))
    new.replace(path)


def read(path: Path) -> World:
    """What `write` wrote. Raises StackError if it is not that."""
    try:
        content = orjson.loads(path.read_bytes())
        kinds = {"people": Person, "tweets": Tweet, "likes": Like, "retweets": Retweet}
        for name, kind in kinds.items():
            content[name] = [kind(**item) for item in content[name]]
        content["friendships"] = [(a, b) for a, b in content["friendships"]]
        return World(**content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StackError(f"{path} is not a world that the demo recorded: {error}") from error


def newest(directory: Path) -> Path:
    """The file written last in `directory`. Raises StackError if there is none."""
    files = sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise StackError("No run is recorded here: `starling demo reed98` makes one.")
    return files[-1]
