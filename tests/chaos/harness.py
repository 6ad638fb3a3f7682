"""One run: a crowd, a load, faults meanwhile, the check, and all once more after Redis forgot everything."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.e2e.mesh import Mesh

from .checker import FeedName, Reading, Violation, changed, check
from .crowd import Crowd, Size, gather
from .faults import Saboteur, StepDone, processes_of
from .history import History, ledger
from .plan import Step, plan
from .report import page
from .rest import Rest
from .settle import settle
from .verdict import Verdict, sum_up
from .workload import Rates, Workload

REPLAYED_AFTER_FLUSH = 100
CALM_S = 5.0


@dataclass(frozen=True)
class Options:
    """How much of it. The faults go on until there were enough tweets and enough steps, or time is over."""

    seed: int
    tweets: int
    steps: int
    most_s: float
    rates: Rates = field(default_factory=Rates)
    size: Size = field(default_factory=Size)
    overlap: float = 0.15
    calm_s: float = CALM_S
    command: str = ""


@dataclass
class Run:
    """What a run left: for the report, and for tests that go on with it."""

    out: Path
    crowd: Crowd
    history: History
    steps: list[StepDone]
    reading: Reading
    verdict: Verdict


async def run(mesh: Mesh, options: Options, out: Path, steps: Iterable[Step] | None = None) -> Run:
    """Runs it all, and leaves history.jsonl, faults.jsonl, verdict.json and report.html in `out`.

    steps: instead of those of the seed.
    """
    out.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    history = History(out / "history.jsonl")
    processes = processes_of(mesh)
    planned = steps or plan(processes, random.Random(options.seed), overlap=options.overlap)
    async with Rest(mesh) as rest:
        crowd = await gather(rest, options.size, random.Random(options.seed))
        load = Workload(rest, crowd, history, options.rates, random.Random(options.seed))
        done = await _storm(mesh, load, history, planned, options, out)
        reading, violations, after_s = await _check(mesh, rest, crowd, load, history)
    history.close()
    verdict = sum_up(options.seed, options.command, processes, history, done, violations)
    verdict.feeds = len(reading.feeds)
    verdict.entries = sum(map(len, reading.feeds.values()))
    verdict.whole_after_s = after_s
    verdict.write(out / "verdict.json")
    (out / "report.html").write_text(page(verdict, history, done))
    return Run(out, crowd, history, done, reading, verdict)


async def _storm(
    mesh: Mesh,
    load: Workload,
    history: History,
    planned: Iterable[Step],
    options: Options,
    out: Path,
) -> list[StepDone]:
    saboteur = Saboteur(mesh, history.now)
    done: list[StepDone] = []
    running = asyncio.create_task(load.run())
    begun_s = history.now()
    try:
        await asyncio.sleep(options.calm_s)
        with (out / "faults.jsonl").open("w", encoding="utf-8") as log:
            for step in planned:
                done.append(await asyncio.to_thread(saboteur.do, step))
                for fault in done[-1].faults:
                    log.write(json.dumps(asdict(fault)) + "\n")
                log.flush()
                enough = history.acknowledged >= options.tweets and len(done) >= options.steps
                if enough or history.now() - begun_s >= options.most_s:
                    break
    finally:
        load.stop()
        await running
    return done


async def _check(
    mesh: Mesh, rest: Rest, crowd: Crowd, load: Workload, history: History
) -> tuple[Reading, list[Violation], float]:
    people, feeds = crowd.people, crowd.feeds

    async def read(names: Iterable[FeedName]) -> Reading:
        return await rest.read(names, people)

    settled = await settle(feeds, read, ledger(history.attempts), crowd.follows)
    violations = settled.violations
    await asyncio.to_thread(mesh.flush_redis)
    again = await read(feeds)
    violations += changed(settled.reading, again)
    # Keys outlive what Redis forgot, and every crash: the same answers again.
    acknowledged = [a for a in history.attempts if a.kind == "post" and a.outcome == "ok"]
    chosen = random.Random(0).sample(acknowledged, min(REPLAYED_AFTER_FLUSH, len(acknowledged)))
    await asyncio.gather(*map(load.replay, chosen))
    known = set(violations)
    final = check(ledger(history.attempts), again, crowd.follows)
    violations += [violation for violation in final if violation not in known]
    return settled.reading, violations, settled.after_s
