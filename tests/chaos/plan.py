"""Which faults happen, in which order: the same for the same seed and the same processes."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Action = Literal["kill", "terminate", "pause", "flush", "fill"]

TELEMETRY = ("zipkin",)

PAUSE_S = (1.0, 15.0)
FULL = ("cassandra", "nats")
FULL_S = (4.0, 8.0)

REST_S = (2.0, 8.0)
SECOND_AFTER_S = (0.0, 2.0)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one process."""

    action: Action
    process: str
    lasts_s: float = 0.0
    """Of a pause or a full disk; the others last until the process is there again."""
    after_s: float = 0.0
    """How long after its step began."""

    @property
    def name(self) -> str:
        """What and which kind: "kill tweet_svc", whichever instance it is."""
        return f"{self.action} {kind_of(self.process)}"

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.action} {self.process}{lasts}"


@dataclass(frozen=True)
class Step:
    """One fault, or two at once, and a rest after all is mended."""

    faults: tuple[Fault, ...]
    rest_s: float

    @property
    def name(self) -> str:
        """The kind of fault, for tables."""
        return self.faults[0].name if len(self.faults) == 1 else "two at once"


def kind_of(process: str) -> str:
    """`tweet_svc-2` is a `tweet_svc`, and `tweet_svc-2.envoy` is a `tweet_svc.envoy`."""
    return re.sub(r"-\d+(?=\.|$)", "", process)


def catalogue(processes: Iterable[str]) -> list[tuple[Action, str]]:
    """Every fault that makes sense, by kind of process, in a fixed order."""
    faults: list[tuple[Action, str]] = []
    for kind in sorted({kind_of(process) for process in processes}):
        faults.append(("kill", kind))
        if kind in TELEMETRY:
            continue
        faults += [("terminate", kind), ("pause", kind)]
        if kind == "redis":
            faults.append(("flush", kind))
        if kind in FULL:
            faults.append(("fill", kind))
    return faults


def plan(processes: Sequence[str], chance: random.Random, *, overlap: float) -> Iterable[Step]:
    """Steps without end: all of the catalogue in a random order, and again, in another.

    overlap: the share of steps with two faults at once, of different kinds of processes.
    """
    instances: dict[str, list[str]] = {}
    for process in processes:
        instances.setdefault(kind_of(process), []).append(process)
    waiting: list[tuple[Action, str]] = []
    while True:
        if len(waiting) < 2:
            again = catalogue(processes)
            chance.shuffle(again)
            waiting += again
        first = waiting.pop(0)
        faults = [_fault(first, instances, chance)]
        if chance.random() < overlap:
            other = next((at for at, each in enumerate(waiting) if each[1] != first[1]), None)
            if other is not None:
                after_s = chance.uniform(*SECOND_AFTER_S)
                faults.append(_fault(waiting.pop(other), instances, chance, after_s))
        yield Step(tuple(faults), round(chance.uniform(*REST_S), 1))


def _fault(
    what: tuple[Action, str],
    instances: dict[str, list[str]],
    chance: random.Random,
    after_s: float = 0.0,
) -> Fault:
    action, kind = what
    process = chance.choice(sorted(instances[kind]))
    lasts_s = 0.0
    if action == "pause":
        lasts_s = chance.uniform(*PAUSE_S)
    elif action == "fill":
        lasts_s = chance.uniform(*FULL_S)
    return Fault(action, process, round(lasts_s, 1), round(after_s, 1))
