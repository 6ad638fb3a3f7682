"""The faults of `make chaos` are chosen by the seed alone, and their costs are counted right."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos.crowd import Size, choose
from tests.chaos.faults import Done, StepDone, files_limited
from tests.chaos.history import Attempt, History, Outcome
from tests.chaos.outages import BEFORE, availability, costs, longest_outage_s
from tests.chaos.plan import Fault, Step, catalogue, kind_of, plan
from tests.chaos.report import page
from tests.chaos.verdict import sum_up

SINGLE = ["cassandra", "nats", "redis", "zipkin", "tweet_svc", "tweet_svc.envoy", "edge"]
REPLICATED = [
    *SINGLE,
    *(f"{name}-{number}" for name in ("cassandra", "nats", "redis") for number in (2, 3)),
    *("tweet_svc-2", "tweet_svc-2.envoy", "edge-2"),
]


@pytest.mark.parametrize(
    ("process", "kind"),
    [
        ("tweet_svc", "tweet_svc"),
        ("tweet_svc-2", "tweet_svc"),
        ("tweet_svc-2.envoy", "tweet_svc.envoy"),
        ("tweet_svc.envoy-2", "tweet_svc.envoy"),
        ("cassandra-13", "cassandra"),
    ],
)
def test_instances_are_of_a_kind(process: str, kind: str) -> None:
    assert kind_of(process) == kind


@pytest.mark.parametrize("processes", [SINGLE, REPLICATED], ids=["single", "replicated"])
def test_a_seed_makes_one_plan_and_it_leaves_out_nothing(processes: list[str]) -> None:
    first, second = (
        list(islice(plan(processes, random.Random(7), overlap=0.2), 60)) for _ in range(2)
    )
    assert first == second
    assert first != list(islice(plan(processes, random.Random(8), overlap=0.2), 60))
    every = set(catalogue(processes))
    assert ("kill", "zipkin") in every
    assert ("fill", "cassandra") in every
    assert ("flush", "redis") in every
    done = [(f.action, kind_of(f.process)) for step in first for f in step.faults]
    assert set(done[: len(every)]) == every, "all of it, before anything comes again"
    assert {fault.process for step in first for fault in step.faults} <= set(processes)
    pairs = [step.faults for step in first if len(step.faults) == 2]
    assert pairs
    assert all(kind_of(one.process) != kind_of(other.process) for one, other in pairs)


def test_one_fault_at_a_time() -> None:
    steps = islice(plan(REPLICATED, random.Random(3), overlap=0.0), 60)
    assert all(len(step.faults) == 1 for step in steps)


@pytest.mark.parametrize("seed", range(20))
def test_only_celebrities_reach_their_line(seed: int) -> None:
    size = Size()
    followers = dict.fromkeys(range(size.authors), 0)
    for _, followee in choose(size, random.Random(seed)):
        followers[followee] += 1
    line = size.celebrity_followers
    assert all((count >= line) == (a < size.celebrities) for a, count in followers.items())


def asked(started_s: float, outcome: Outcome = "ok", took_s: float = 0.01) -> Attempt:
    return Attempt("post", started_s, started_s + took_s, outcome, 200, "1")


def step_at(begun_s: float, process: str) -> StepDone:
    fault = Fault("kill", process)
    return StepDone(Step((fault,), 1.0), (Done(fault, begun_s, begun_s + 1),))


def test_an_outage_is_from_the_first_failure_to_the_next_success() -> None:
    assert longest_outage_s([asked(1), asked(2), asked(3)]) == 0
    assert longest_outage_s([asked(1), asked(2, "unknown"), asked(3, "refused"), asked(4.5)]) == 2.5
    assert longest_outage_s([asked(1, "unknown"), asked(2), asked(3, "unknown"), asked(7)]) == 4
    assert longest_outage_s([asked(1), asked(2, "unknown"), asked(5, "unknown")]) == 3


def test_costs_are_those_of_the_fault_they_fall_under() -> None:
    attempts = [asked(float(second)) for second in range(10)]
    attempts += [asked(10 + s, "unknown" if 2 <= s < 4 else "ok") for s in range(11)]
    attempts += [asked(22 + s, took_s=0.5) for s in range(9)]
    attempts.append(asked(9.5, "unknown", took_s=1.0))  # was under way when the fault began
    steps = [step_at(10, "edge"), step_at(21.5, "nats-2")]
    edge, nats, before = costs(attempts, steps, ("post",))
    assert (before.fault, before.requests, before.failed) == (BEFORE, 10, 0)
    assert (edge.fault, edge.requests, edge.failed, edge.longest_outage_s) == (
        "kill edge",
        12,
        3,
        2,
    )
    assert edge.lost_s == pytest.approx(10.5 * 3 / 12)
    assert (nats.fault, nats.failed, round(nats.p50_ms)) == ("kill nats", 0, 500)
    year = 365 * 86_400
    assert availability([edge, nats], ["edge", "edge-2", "nats"]) == pytest.approx(
        1 - 2 * 12 * edge.lost_s / year
    )


def test_the_page_shows_what_was_found() -> None:
    history = History()
    for second in range(60):
        history.record(asked(float(second), "unknown" if second == 20 else "ok"))
    steps = [step_at(20, "edge"), step_at(40, "nats")]
    verdict = sum_up(5, "python -m tests.chaos --seed 5", SINGLE, history, steps, [])
    good = page(verdict, history, steps)
    assert "PASSED" in good
    assert "kill edge" in good
    assert good.count("<svg") == 4
    verdict.findings.append("lost: <one>")
    bad = page(verdict, history, steps)
    assert "FAILED: 1 findings" in bad
    assert "lost: &lt;one&gt;" in bad


def test_a_process_that_did_not_come_back_is_a_finding() -> None:
    step = step_at(1.0, "nats")
    [done] = step.faults
    steps = [replace(step, faults=(replace(done, failure="kill nats: it never came"),))]
    verdict = sum_up(1, "", SINGLE, History(), steps, [])
    assert verdict.findings == ["not mended: kill nats: it never came"]


def test_answers_that_no_fault_excuses_are_findings() -> None:
    history = History()
    history.record(Attempt("home", 1.0, 1.1, "unknown", 503, "1"))
    history.record(Attempt("post", 0.0, 0.1, "ok", 200, "1", "key", "text", "9"))
    history.record(Attempt("delete", 1.0, 1.1, "ok", 404, "1", "key"))
    assert sum_up(1, "", SINGLE, history, [], []).good
    history.record(Attempt("home", 1.0, 1.1, "unknown", 500, "1", reason="oops"))
    verdict = sum_up(1, "", SINGLE, history, [], [])
    assert verdict.findings == ["surprise: 1 times home was answered 500: oops"]


WRITER = """
import signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open(sys.argv[1], "ab", buffering=0) as file:
    for line in sys.stdin:
        try:
            file.write(line.encode())
            print("written", flush=True)
        except OSError as error:
            print(error.strerror, flush=True)
"""


def test_a_full_disk_is_full_and_is_empty_again(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "file")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin
    assert writer.stdout

    def write() -> str:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write("some bytes\n")
        writer.stdin.flush()
        return writer.stdout.readline().strip()

    with writer:
        assert write() == "written"
        before = resource.prlimit(writer.pid, resource.RLIMIT_FSIZE)
        with files_limited(writer.pid, 1):
            assert write() == "File too large"
        assert write() == "written"
        assert resource.prlimit(writer.pid, resource.RLIMIT_FSIZE) == before
        writer.stdin.close()
