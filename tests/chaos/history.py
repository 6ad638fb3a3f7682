"""What the workload did: every attempt with its answer, in memory and as JSON lines.

Times are seconds since the history was begun. An attempt's outcome is `ok` (it was answered with success),
`refused` (an answer that says nothing was done) or `unknown` (no answer, or one that leaves it open).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal

Kind = Literal["post", "delete", "home", "user_timeline", "profile", "login"]
Outcome = Literal["ok", "refused", "unknown"]
Fate = Literal["present", "absent", "either"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request. `started_s` is when it was due, so that waiting for its turn counts."""

    kind: Kind
    started_s: float
    ended_s: float
    outcome: Outcome
    status: int
    """Of HTTP; 0 without an answer."""
    user_id: str
    """Who asked: of a post, its author."""
    key: str = ""
    """The Idempotency-Key of a post, or of the tweet that a delete is about."""
    content: str = ""
    tweet_id: str = ""
    number: int = 1
    """1 for the first attempt with this key, more for repeats."""
    reason: str = ""
    """What an answer that is no success says, or how the connection broke."""

    @property
    def took_s(self) -> float:
        """How long who asked waited."""
        return self.ended_s - self.started_s


@dataclass
class Tweet:
    """All that was tried with one key."""

    key: str
    author_id: str
    content: str
    answered_ids: set[str] = field(default_factory=set)
    """The tweet ids that acknowledgements named: one, unless something is broken."""
    unknown: bool = False
    """Some attempt may have been carried out without an answer."""
    deleted: Literal["no", "unknown", "yes"] = "no"

    @property
    def fate(self) -> Fate:
        """Where it has to be in the end: in all its feeds, in none, or in either all or none."""
        if self.deleted == "yes":
            return "absent"
        if self.answered_ids:
            return "present" if self.deleted == "no" else "either"
        return "either" if self.unknown else "absent"


Ledger = dict[str, Tweet]
"""By key."""


class History:
    """Grows while the workload runs. With a path, each attempt is a line of that file at once."""

    def __init__(self, path: Path | None = None) -> None:
        self.attempts: list[Attempt] = []
        self.skipped = 0
        """How many requests were due and not made, because too many were under way."""
        self.acknowledged = 0
        """How many keys were answered with success."""
        self.began_at = time.time()
        self._origin = time.monotonic()
        self._acknowledged_keys: set[str] = set()
        self._file: IO[str] | None = path.open("w", encoding="utf-8") if path else None

    def now(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._origin

    def record(self, attempt: Attempt) -> None:
        """Adds what has ended."""
        self.attempts.append(attempt)
        if attempt.kind == "post" and attempt.outcome == "ok":
            self._acknowledged_keys.add(attempt.key)
            self.acknowledged = len(self._acknowledged_keys)
        if self._file:
            self._file.write(json.dumps(asdict(attempt)) + "\n")

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()


def read(path: Path) -> Iterator[Attempt]:
    """The attempts of a history file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Attempt(**json.loads(line))


def ledger(attempts: Iterable[Attempt]) -> Ledger:
    """What the attempts mean for each tweet."""
    tweets: Ledger = {}
    for attempt in attempts:
        if attempt.kind == "post":
            tweet = tweets.setdefault(
                attempt.key, Tweet(attempt.key, attempt.user_id, attempt.content)
            )
            if attempt.outcome == "ok":
                tweet.answered_ids.add(attempt.tweet_id)
            elif attempt.outcome == "unknown":
                tweet.unknown = True
        elif attempt.kind == "delete":
            tweet = tweets[attempt.key]
            if attempt.outcome == "ok":
                tweet.deleted = "yes"
            elif attempt.outcome == "unknown" and tweet.deleted == "no":
                tweet.deleted = "unknown"
    return tweets
