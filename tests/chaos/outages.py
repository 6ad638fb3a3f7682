"""What each kind of fault cost those who called: from the history, and the times of the faults.

A request belongs to the last step that had begun when it was due; or, if it failed though all was mended
then, to the step that began before it ended. Only first attempts count: repeats are made because something
failed already.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .faults import StepDone
from .history import Attempt
from .plan import kind_of

BEFORE = "no fault yet"
YEAR_S = 365 * 86_400

FAULTS_A_YEAR = {
    "kill": 12.0,
    "terminate": 24.0,
    "pause": 2.0,
    "flush": 2.0,
    "fill": 0.5,
}
"""How often we assume that each fault meets each process: a crash a month, two releases a month, a hang
and a lost cache twice a year, a full disk every other year."""


@dataclass(frozen=True)
class Cost:
    """What one kind of fault did to one kind of requests, or to all."""

    fault: str
    times: int
    requests: int
    failed: int
    longest_outage_s: float
    """From the first of consecutive failures to the next success."""
    p50_ms: float
    p99_ms: float
    lost_s: float
    """Seconds of complete outage that one such fault amounts to: the failed share of its time."""

    @property
    def failed_share(self) -> float:
        """Of the requests that were due while it lasted and until the next."""
        return self.failed / self.requests if self.requests else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them stay within; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def longest_outage_s(attempts: Sequence[Attempt]) -> float:
    """The longest time without a success, among attempts in the order in which they were due."""
    longest, down_since = 0.0, None
    last = 0.0
    for attempt in attempts:
        last = attempt.started_s
        if attempt.outcome == "ok":
            if down_since is not None:
                longest = max(longest, attempt.started_s - down_since)
            down_since = None
        elif down_since is None:
            down_since = attempt.started_s
    if down_since is not None:
        longest = max(longest, last - down_since)
    return longest


def costs(
    attempts: Iterable[Attempt], steps: Sequence[StepDone], kinds: Sequence[str]
) -> list[Cost]:
    """By kind of fault, the dearest first, for requests of these kinds; before the first fault last."""
    firsts = sorted(
        (a for a in attempts if a.kind in kinds and a.number == 1), key=lambda a: a.started_s
    )
    begins = [step.begun_s for step in steps]
    during: list[list[Attempt]] = [[] for _ in range(len(steps) + 1)]
    for attempt in firsts:
        at = bisect_right(begins, attempt.started_s)
        mended = at == 0 or steps[at - 1].mended_s <= attempt.started_s
        if attempt.outcome != "ok" and mended:
            at = max(at, min(at + 1, bisect_right(begins, attempt.ended_s)))
        during[at].append(attempt)
    by_name: dict[str, list[list[Attempt]]] = defaultdict(list)
    by_name[BEFORE].append(during[0])
    for step, its in zip(steps, during[1:], strict=True):
        by_name[step.step.name].append(its)
    rows = [_cost(name, windows) for name, windows in by_name.items()]
    return sorted(rows, key=lambda row: (row.fault == BEFORE, -row.lost_s, row.fault))


def _cost(name: str, windows: list[list[Attempt]]) -> Cost:
    every = [attempt for window in windows for attempt in window]
    answered = [1000 * attempt.took_s for attempt in every if attempt.outcome == "ok"]
    failed = sum(attempt.outcome != "ok" for attempt in every)
    lost_s = sum(
        (window[-1].started_s - window[0].started_s)
        * sum(attempt.outcome != "ok" for attempt in window)
        / len(window)
        for window in windows
        if window
    )
    return Cost(
        name,
        len(windows),
        len(every),
        failed,
        max(map(longest_outage_s, windows), default=0.0),
        percentile(answered, 0.5),
        percentile(answered, 0.99),
        lost_s / len(windows),
    )


def availability(rows: Iterable[Cost], processes: Iterable[str]) -> float:
    """The share of requests that are answered in a year with FAULTS_A_YEAR for each of `processes`.

    Only faults that happened alone count; what a kind of fault cost here, it costs each time.
    """
    names = list(processes)
    lost_s = 0.0
    for row in rows:
        action, _, kind = row.fault.partition(" ")
        if action in FAULTS_A_YEAR and row.fault != BEFORE:
            count = 1 if action == "flush" else sum(kind_of(name) == kind for name in names)
            lost_s += row.lost_s * FAULTS_A_YEAR[action] * count
    return 1 - lost_s / YEAR_S
