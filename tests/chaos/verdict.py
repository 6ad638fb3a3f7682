"""What a run came to: in one place for the page, the console and the exit code."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .checker import Violation
from .faults import StepDone
from .history import History, ledger
from .outages import Cost, availability, costs

READS = ("home", "user_timeline", "profile")
EVERYTHING = ("post", *READS, "login")
EXPECTED_STATUSES = (0, 200, 429, 502, 503, 504)
"""All that calls may be answered with while things break."""


@dataclass
class Verdict:
    """Figures and findings. It is good if nothing was found."""

    seed: int
    command: str
    processes: list[str]
    steps: int
    faults: int
    length_s: float
    attempted: int
    acknowledged: int
    unanswered: int
    """Posts that were given up without an answer."""
    repeats: int
    deleted: int
    requests: int
    skipped: int
    feeds: int
    entries: int
    whole_after_s: float
    """From the last answer, or the last fault's end, until every feed was right."""
    findings: list[str] = field(default_factory=list)
    posts: list[Cost] = field(default_factory=list)
    homes: list[Cost] = field(default_factory=list)
    everything: list[Cost] = field(default_factory=list)
    availability: float = 1.0

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def surprises(history: History) -> list[str]:
    """Answers that no fault excuses: requests were right, and 500 is never right."""
    seen: Counter[str] = Counter()
    for attempt in history.attempts:
        gone = attempt.kind == "delete" and attempt.status == 404 and attempt.outcome == "ok"
        if attempt.status not in EXPECTED_STATUSES and not gone:
            seen[f"{attempt.kind} was answered {attempt.status}: {attempt.reason[:200]}"] += 1
    return [f"surprise: {times} times {what}" for what, times in seen.most_common()]


def sum_up(
    seed: int,
    command: str,
    processes: list[str],
    history: History,
    steps: list[StepDone],
    violations: list[Violation],
) -> Verdict:
    """Counts, costs and findings; what the check read is filled in by who read it."""
    tweets = ledger(history.attempts).values()
    everything = costs(history.attempts, steps, EVERYTHING)
    posts = [attempt for attempt in history.attempts if attempt.kind == "post"]
    return Verdict(
        seed=seed,
        command=command,
        processes=processes,
        steps=len(steps),
        faults=sum(len(step.faults) for step in steps),
        length_s=history.now(),
        attempted=len(tweets),
        acknowledged=sum(bool(tweet.answered_ids) for tweet in tweets),
        unanswered=sum(tweet.unknown and not tweet.answered_ids for tweet in tweets),
        repeats=sum(attempt.number > 1 for attempt in posts),
        deleted=sum(tweet.deleted == "yes" for tweet in tweets),
        requests=len(history.attempts),
        skipped=history.skipped,
        feeds=0,
        entries=0,
        whole_after_s=0.0,
        findings=[
            *(str(violation) for violation in violations),
            *(f"not mended: {d.failure}" for step in steps for d in step.faults if d.failure),
            *surprises(history),
        ],
        posts=costs(history.attempts, steps, ("post",)),
        homes=costs(history.attempts, steps, ("home",)),
        everything=everything,
        availability=availability(everything, processes),
    )
