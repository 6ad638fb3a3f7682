"""The check of `make chaos` finds whatever is wrong: each way of being wrong is done to a right reading."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checker import Entry, FeedName, Reading, changed, check, shown_in
from tests.chaos.history import Attempt, History, Ledger, Outcome, ledger, read
from tests.chaos.settle import settle

AUTHORS, READERS = ["1", "2", "3"], ["7", "8"]
FOLLOWS = {"7": ["1", "2", "3"], "8": ["2", "3"], "1": ["2"]}
NAMES = [FeedName("user", a) for a in AUTHORS] + [FeedName("home", u) for u in AUTHORS + READERS]


def attempt(key: str, author: str, outcome: Outcome = "ok", tweet_id: str = "") -> Attempt:
    return Attempt("post", 0.0, 0.1, outcome, 200, author, key, f"text of {key}", tweet_id)


def posts(count: int = 60) -> list[Attempt]:
    return [attempt(f"k{n}", AUTHORS[n % 3], tweet_id=str(1000 + n)) for n in range(count)]


def entry(of: Attempt) -> Entry:
    """Several share a millisecond."""
    at = int(of.tweet_id) // 4
    return Entry(of.tweet_id, f"2026-01-01T00:00:00.{at:03d}Z", of.user_id, of.content)


def reading_of(shown: Iterable[Attempt]) -> Reading:
    entries = sorted((entry(each) for each in shown), key=lambda e: -int(e.tweet_id))
    feeds: dict[FeedName, Sequence[Entry]] = {
        name: [e for e in entries if e.author_id in shown_in(name, FOLLOWS)] for name in NAMES
    }
    return Reading(feeds, {a: len(feeds[FeedName("user", a)]) for a in AUTHORS})


def wrongs(attempts: list[Attempt], reading: Reading) -> set[str]:
    return {violation.wrong for violation in check(ledger(attempts), reading, FOLLOWS)}


def test_what_is_right_is_found_right() -> None:
    assert wrongs(posts(), reading_of(posts())) == set()
    assert changed(reading_of(posts()), reading_of(posts())) == []


def drop(entries: list[Entry], at: int) -> None:
    del entries[at]


def double(entries: list[Entry], at: int) -> None:
    entries.insert(at, entries[at])


def double_under_another_id(entries: list[Entry], at: int) -> None:
    entries.insert(at, entries[at]._replace(tweet_id=str(int(entries[at].tweet_id) + 5000)))


def move_down(entries: list[Entry], at: int) -> None:
    entries.insert((at + 1) % len(entries), entries.pop(at))


def invent(entries: list[Entry], at: int) -> None:
    entries[at:at] = [entries[at]._replace(tweet_id="9", content="nobody wrote this")]


def show_as_by_another(entries: list[Entry], at: int) -> None:
    author = AUTHORS[AUTHORS.index(entries[at].author_id) - 1]
    entries[at] = entries[at]._replace(author_id=author)


def change_the_id(entries: list[Entry], at: int) -> None:
    entries[at] = entries[at]._replace(tweet_id="4242")


@pytest.mark.parametrize(
    ("do", "found"),
    [
        (drop, "lost"),
        (double, "doubled"),
        (double_under_another_id, "doubled"),
        (move_down, "disordered"),
        (invent, "phantom"),
        (show_as_by_another, "phantom"),
        (change_the_id, "phantom"),
    ],
)
@pytest.mark.parametrize("name", NAMES, ids=str)
def test_one_tweet_in_one_feed_is_wrong(
    do: Callable[[list[Entry], int], None], found: str, name: FeedName
) -> None:
    chance = random.Random(f"{found} {name}")
    for _ in range(10):
        reading = reading_of(posts())
        entries = list(reading.feeds[name])
        do(entries, chance.randrange(len(entries)))
        reading.feeds[name] = entries
        violations = check(ledger(posts()), reading, FOLLOWS)
        assert found in {violation.wrong for violation in violations}
        assert all(violation.feeds == {name} for violation in violations)
        assert [v.wrong for v in changed(reading_of(posts()), reading)] == (
            [] if do is show_as_by_another else ["changed"]
        )


def test_a_feed_shows_whom_its_reader_does_not_follow() -> None:
    reading = reading_of(posts())
    stranger = next(each for each in posts() if each.user_id == "1")
    feed = [*reading.feeds[FeedName("home", "8")], entry(stranger)]
    reading.feeds[FeedName("home", "8")] = sorted(feed, key=lambda e: -int(e.tweet_id))
    assert wrongs(posts(), reading) == {"phantom"}


def test_an_acknowledged_tweet_is_nowhere() -> None:
    assert wrongs(posts(), reading_of(posts()[1:])) == {"lost"}


def test_a_feed_was_not_read_and_nothing_is_said_of_it() -> None:
    reading = reading_of(posts())
    del reading.feeds[FeedName("home", "8")]
    assert wrongs(posts(), reading) == set()


def test_without_an_answer_a_tweet_is_everywhere_or_nowhere() -> None:
    lost_answer = attempt("lost", "2", "unknown")
    attempts = [*posts(), lost_answer]
    stored = replace(lost_answer, tweet_id="2000")
    assert wrongs(attempts, reading_of(posts())) == set()
    assert wrongs(attempts, reading_of([*posts(), stored])) == set()
    for name in NAMES:
        if "2" in shown_in(name, FOLLOWS):
            reading = reading_of([*posts(), stored])
            reading.feeds[name] = reading_of(posts()).feeds[name]
            reading.counts.clear()
            [violation] = check(ledger(attempts), reading, FOLLOWS)
            assert violation.wrong == "torn"
            assert len(violation.feeds) == 5  # all that follow the author are to be read again


def test_without_an_answer_a_tweet_is_stored_twice() -> None:
    lost_answer = attempt("lost", "2", "unknown")
    attempts = [*posts(), lost_answer]
    twice = [replace(lost_answer, tweet_id="2000"), replace(lost_answer, tweet_id="2001")]
    assert wrongs(attempts, reading_of([*posts(), *twice])) == {"doubled"}
    reading = reading_of([*posts(), twice[0]])
    home = FeedName("home", "8")
    reading.feeds[home] = reading_of([*posts(), twice[1]]).feeds[home]
    assert wrongs(attempts, reading) == {"doubled"}


def test_a_repeat_is_answered_with_another_id() -> None:
    again = attempt("k0", "1", tweet_id="2000")
    assert "forked" in wrongs([*posts(), again], reading_of(posts()))


def test_a_repeat_is_answered_at_last() -> None:
    attempts = [attempt("late", "1", "unknown"), attempt("late", "1", tweet_id="2000")]
    assert wrongs(attempts, reading_of(attempts[1:])) == set()
    assert wrongs(attempts, reading_of([])) == {"lost"}


def test_what_was_refused_is_there() -> None:
    refused = attempt("no", "3", "refused")
    assert wrongs([*posts(), refused], reading_of(posts())) == set()
    shown = reading_of([*posts(), replace(refused, tweet_id="2000")])
    assert wrongs([*posts(), refused], shown) == {"phantom"}


def deletion(of: Attempt, outcome: Outcome) -> Attempt:
    return replace(of, kind="delete", outcome=outcome)


def test_a_deleted_tweet_comes_back() -> None:
    attempts = [*posts(), deletion(posts()[5], "unknown"), deletion(posts()[5], "ok")]
    left = [each for each in posts() if each.key != "k5"]
    assert wrongs(attempts, reading_of(left)) == set()
    assert wrongs(attempts, reading_of(posts())) == {"phantom"}


def test_a_deletion_without_an_answer_is_done_everywhere_or_nowhere() -> None:
    attempts = [*posts(), deletion(posts()[5], "unknown")]
    left = reading_of([each for each in posts() if each.key != "k5"])
    assert wrongs(attempts, left) == set()
    assert wrongs(attempts, reading_of(posts())) == set()
    left.feeds[FeedName("home", "7")] = reading_of(posts()).feeds[FeedName("home", "7")]
    assert wrongs(attempts, left) == {"torn"}


def test_a_count_is_one_off() -> None:
    reading = reading_of(posts())
    reading.counts["3"] += 1
    assert wrongs(posts(), reading) == {"miscounted"}


class Clock:
    """Time passes when somebody sleeps, and as long as a reading takes."""

    def __init__(self) -> None:
        self.s = 100.0

    def now(self) -> float:
        return self.s

    async def sleep(self, seconds: float) -> None:
        self.s += seconds


class Delayed:
    """A mesh in which one tweet comes late into one feed."""

    def __init__(self, clock: Clock, delay_s: float, reading_takes_s: float) -> None:
        self._clock = clock
        self._there_at = clock.s + delay_s
        self._takes_s = reading_takes_s
        self.rounds: list[set[FeedName]] = []

    async def read(self, names: Iterable[FeedName]) -> Reading:
        wanted = set(names)
        self.rounds.append(wanted)
        whole, late = reading_of(posts()), FeedName("home", "7")
        if self._clock.s < self._there_at:
            whole.feeds[late] = whole.feeds[late][1:]
        self._clock.s += self._takes_s
        return Reading({name: whole.feeds[name] for name in wanted}, whole.counts)


@pytest.mark.parametrize("takes_s", [0.1, 3.0, 40.0])
async def test_a_delay_within_the_deadline_is_forgiven(takes_s: float) -> None:
    clock = Clock()
    late = Delayed(clock, 29.0, takes_s)
    settled = await settle(
        NAMES, late.read, ledger(posts()), FOLLOWS, now=clock.now, sleep=clock.sleep
    )
    assert settled.violations == []
    assert settled.after_s >= 29.0
    assert late.rounds[0] == set(NAMES)
    assert all(names == {FeedName("home", "7")} for names in late.rounds[1:])


@pytest.mark.parametrize("takes_s", [0.1, 3.0])
async def test_a_delay_past_the_deadline_is_a_loss(takes_s: float) -> None:
    clock = Clock()
    late = Delayed(clock, 30.0 + takes_s + 0.1, takes_s)
    settled = await settle(
        NAMES, late.read, ledger(posts()), FOLLOWS, now=clock.now, sleep=clock.sleep
    )
    assert [violation.wrong for violation in settled.violations] == ["lost"]
    assert settled.after_s >= 30.0


async def test_what_no_reading_can_mend_is_not_waited_for() -> None:
    clock = Clock()
    forked: Ledger = ledger([*posts(), attempt("k0", "1", tweet_id="1000")])
    forked["k0"].answered_ids.add("4711")
    fine = Delayed(clock, 0.0, 0.1)
    settled = await settle(NAMES, fine.read, forked, FOLLOWS, now=clock.now, sleep=clock.sleep)
    assert [violation.wrong for violation in settled.violations] == ["forked"]
    assert len(fine.rounds) == 1


def test_a_history_is_written_as_it_happens_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    for each in (*posts(), attempt("lost", "2", "unknown"), deletion(posts()[5], "ok")):
        history.record(each)
    history.record(posts()[0])
    history.close()
    assert list(read(path)) == history.attempts
    assert history.acknowledged == 60
