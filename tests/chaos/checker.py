"""What was read against what was attempted: nothing may be lost, invented, doubled or out of its place.

A tweet is known by its content, which holds its key; so one that was stored though its answer was lost is
found too. Nothing here speaks to the mesh.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .history import Ledger, Tweet

Wrong = Literal[
    "lost",  # acknowledged, and not there
    "phantom",  # there, though never attempted, refused, deleted, or another's
    "doubled",  # there twice, or under two ids
    "disordered",  # not newest first
    "torn",  # without an answer, and in some of its feeds but not in all
    "forked",  # one key, several ids
    "miscounted",  # tweets_count is not the length of the user timeline
    "changed",  # a feed is another after Redis forgot everything
]


class FeedName(NamedTuple):
    """Whose list, and which: a `user` timeline or a `home` timeline."""

    kind: Literal["user", "home"]
    user_id: str

    def __str__(self) -> str:
        return f"{self.kind} timeline of {self.user_id}"


class Entry(NamedTuple):
    """A tweet as a feed shows it. `created_at` is in RFC 3339: it sorts as text."""

    tweet_id: str
    created_at: str
    author_id: str
    content: str


@dataclass
class Reading:
    """What was read: feeds to their end, newest first, and the authors' `tweets_count`."""

    feeds: dict[FeedName, Sequence[Entry]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Violation:
    """Something wrong with a tweet or a feed. `feeds` are those to read again to see if it still is."""

    wrong: Wrong
    what: str
    feeds: frozenset[FeedName] = frozenset()

    def __str__(self) -> str:
        return f"{self.wrong}: {self.what}"


Follows = Mapping[str, Collection[str]]
"""By the follower's id, whom they follow."""


def shown_in(name: FeedName, follows: Follows) -> set[str]:
    """The ids of those whose tweets this feed holds."""
    return {name.user_id} if name.kind == "user" else {name.user_id, *follows.get(name.user_id, ())}


def check(ledger: Ledger, reading: Reading, follows: Follows) -> list[Violation]:
    """All that is wrong; nothing, if all is well."""
    found = _forked(ledger)
    by_content = {tweet.content: tweet for tweet in ledger.values()}
    by_author: dict[str, list[Tweet]] = defaultdict(list)
    for tweet in ledger.values():
        by_author[tweet.author_id].append(tweet)
    present_in: dict[str, dict[FeedName, str]] = defaultdict(dict)
    expected_in: dict[str, set[FeedName]] = defaultdict(set)
    for name, entries in reading.feeds.items():
        authors = shown_in(name, follows)
        found += _disordered(name, entries)
        found += _doubled(name, entries)
        for entry in entries:
            known = by_content.get(entry.content)
            if reason := _phantom(entry, known, authors):
                found.append(_of(name, "phantom", f"{entry.tweet_id} {reason}"))
            elif known:
                present_in[known.key][name] = entry.tweet_id
        for author in authors:
            for tweet in by_author[author]:
                expected_in[tweet.key].add(name)
                if tweet.fate == "present" and name not in present_in[tweet.key]:
                    found.append(
                        _of(name, "lost", f"{tweet.key} ({', '.join(tweet.answered_ids)})")
                    )
    found += _torn(ledger, present_in, expected_in)
    found += _miscounted(reading)
    return found


def changed(before: Reading, after: Reading) -> list[Violation]:
    """Feeds that do not show the same tweets in the same order as before."""
    found = []
    for name, entries in before.feeds.items():
        then = [entry.tweet_id for entry in entries]
        now = [entry.tweet_id for entry in after.feeds.get(name, ())]
        if then != now:
            gone, new = set(then) - set(now), set(now) - set(then)
            found.append(_of(name, "changed", f"{len(gone)} went, {len(new)} came"))
    return found


def _of(name: FeedName, wrong: Wrong, what: str) -> Violation:
    return Violation(wrong, f"{what} in the {name}", frozenset({name}))


def _forked(ledger: Ledger) -> list[Violation]:
    return [
        Violation("forked", f"{tweet.key} was answered with {sorted(tweet.answered_ids)}")
        for tweet in ledger.values()
        if len(tweet.answered_ids) > 1
    ]


def _disordered(name: FeedName, entries: Sequence[Entry]) -> list[Violation]:
    places = [(entry.created_at, int(entry.tweet_id)) for entry in entries]
    return [
        _of(name, "disordered", f"{entries[at].tweet_id} stands before {entries[at + 1].tweet_id}")
        for at in range(len(places) - 1)
        if places[at] < places[at + 1]
    ]


def _doubled(name: FeedName, entries: Sequence[Entry]) -> list[Violation]:
    ids = Counter(entry.tweet_id for entry in entries)
    twice = [f"{tweet_id} ({times} times)" for tweet_id, times in ids.items() if times > 1]
    contents: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        contents[entry.content].add(entry.tweet_id)
    twice += [f"{content!r} as {sorted(s)}" for content, s in contents.items() if len(s) > 1]
    return [_of(name, "doubled", what) for what in twice]


def _phantom(entry: Entry, known: Tweet | None, authors: Collection[str]) -> str:
    """Why it must not be here; empty if it may."""
    if known is None:
        return f"was never attempted: {entry.content!r}"
    if entry.author_id != known.author_id:
        return f"is shown as by {entry.author_id}, not by {known.author_id}"
    if entry.author_id not in authors:
        return f"is by {entry.author_id}, who is not followed"
    if known.answered_ids and entry.tweet_id not in known.answered_ids:
        return f"was acknowledged as {', '.join(known.answered_ids)}"
    if known.fate == "absent":
        return "was deleted" if known.deleted == "yes" else "was refused"
    return ""


def _torn(
    ledger: Ledger,
    present_in: Mapping[str, Mapping[FeedName, str]],
    expected_in: Mapping[str, set[FeedName]],
) -> Iterable[Violation]:
    for key, tweet in ledger.items():
        there = present_in.get(key, {})
        if tweet.fate != "either" or not there:
            continue
        expected = expected_in.get(key, set())
        if missing := expected - set(there):
            what = f"{key} is in {len(there)} of {len(expected)} feeds, not in the {min(missing)}"
            yield Violation("torn", what, frozenset(expected))
        if len(ids := set(there.values())) > 1:
            yield Violation("doubled", f"{key} has the ids {sorted(ids)}", frozenset(expected))


def _miscounted(reading: Reading) -> list[Violation]:
    found = []
    for user_id, count in reading.counts.items():
        name = FeedName("user", user_id)
        if name in reading.feeds and (real := len(reading.feeds[name])) != count:
            found.append(_of(name, "miscounted", f"tweets_count is {count}, with {real} tweets"))
    return found
