"""The page that a person reads: the verdict, the faults above what callers saw, what each fault cost."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

from . import charts
from .faults import StepDone
from .history import History
from .outages import FAULTS_A_YEAR, Cost
from .verdict import READS, Verdict

FINDINGS_SHOWN = 100
GOAL = 0.9999
YEAR_MINUTES = 365 * 24 * 60

PAGE = Template("""\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Chaos $seed: $word</title>
<meta name="viewport" content="width=device-width">
<style>
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; color: #222;
  margin: 2rem auto; padding: 0 1rem }
 h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
 .verdict { border-left: 6px solid $colour; padding: .4rem 1rem; background: #f6f6f4 }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
 th, td { text-align: right; padding: .2rem .7rem; border-bottom: 1px solid #e4e4e0 }
 th { font-weight: 600; color: #555; white-space: nowrap }
 th:first-child, td:first-child { text-align: left }
 code { background: #f0f0ec; padding: .1rem .3rem } svg { display: block; width: 100%; height: auto }
 .key span { display: inline-block; width: .8rem; height: .8rem;
  margin: 0 .3rem 0 1rem; vertical-align: -1px }
 li { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere }
 p.note { color: #666 }
</style>
<div class="verdict"><h1>$headline</h1>
<p>$summary</p>
<p>Once more: <code>$command</code></p></div>
$findings
<h2>What happened when</h2>
<p class="key">$key</p>
$charts
<h2>What each fault cost: posts</h2>
$posts
<h2>What each fault cost: home timelines</h2>
$homes
<p class="note">Requests that were due from a fault's begin until the next fault's; first attempts only. An
outage lasts from the first of consecutive failures until the next success. Lost: the failed share of that
time, in seconds for one such fault. Latencies are of requests that were answered with success, from the
moment each was due. Everything, this load included, ran on one machine.</p>
<h2>Against 99.99 %</h2>
<p>$availability</p>
</html>
""")


def page(verdict: Verdict, history: History, steps: Sequence[StepDone]) -> str:
    """HTML that needs nothing else."""
    length_s = max((attempt.started_s for attempt in history.attempts), default=1.0)
    posts = [a for a in history.attempts if a.kind == "post" and a.number == 1]
    reads = [a for a in history.attempts if a.kind in READS]
    drawn = (
        charts.faults_by_process(steps, length_s),
        charts.latencies("Posts: p50 and longest of each second", posts, steps, length_s),
        charts.latencies("Reads: p50 and longest of each second", reads, steps, length_s),
        charts.failures(
            [("posts", "#c0392b", posts), ("reads", "#2980b9", reads)], steps, length_s
        ),
    )
    return PAGE.substitute(
        seed=verdict.seed,
        word="passed" if verdict.good else "failed",
        colour="#16794c" if verdict.good else "#c0392b",
        headline=headline(verdict),
        summary=escape(summary(verdict)),
        command=escape(verdict.command),
        findings=_findings(verdict),
        key="".join(
            f'<span style="background:{colour}"></span>{_ACTIONS[action]}'
            for action, colour in charts.COLOURS.items()
        ),
        charts="\n".join(drawn),
        posts=_table(verdict.posts),
        homes=_table(verdict.homes),
        availability=escape(availability(verdict)),
    )


_ACTIONS = {
    "kill": "kill -9",
    "terminate": "SIGTERM",
    "pause": "SIGSTOP, then SIGCONT",
    "flush": "FLUSHALL",
    "fill": "disk full, then a restart",
}


def headline(verdict: Verdict) -> str:
    """The verdict in a line."""
    if verdict.good:
        return (
            f"PASSED: {verdict.acknowledged:,} acknowledged tweets, {verdict.faults} faults, "
            "nothing lost, invented, doubled or out of place"
        )
    return (
        f"FAILED: {len(verdict.findings):,} findings, {verdict.acknowledged:,} acknowledged tweets"
    )


def summary(verdict: Verdict) -> str:
    """What was done, in figures."""
    return (
        f"{verdict.faults} faults in {verdict.steps} steps over {len(verdict.processes)} processes in "
        f"{verdict.length_s / 60:.1f} minutes. {verdict.requests:,} requests ({verdict.skipped:,} more were "
        f"due while too many waited). {verdict.attempted:,} tweets were tried, {verdict.acknowledged:,} "
        f"acknowledged, {verdict.repeats:,} attempts were repeats with the same key, "
        f"{verdict.unanswered:,} tweets never had an answer, {verdict.deleted:,} were deleted. "
        f"{verdict.feeds} feeds with {verdict.entries:,} entries were read to their end, and once more after "
        f"a FLUSHALL. The reading that found all of them right began {verdict.whole_after_s:.1f} s after the "
        "last fault and the last answer."
    )


def availability(verdict: Verdict) -> str:
    """What the costs come to in a year."""
    assumed = ", ".join(f"{_ACTIONS[a]} {times:g}" for a, times in FAULTS_A_YEAR.items())
    down = (1 - verdict.availability) * YEAR_MINUTES
    return (
        f"Assumed for each process in a year: {assumed} (FLUSHALL: of all of Redis). With what each of them "
        f"cost here, {100 * verdict.availability:.5f} % of the requests are answered: {down:.1f} minutes of "
        f"outage a year, where {100 * GOAL:g} % allows {(1 - GOAL) * YEAR_MINUTES:.1f}."
    )


def _findings(verdict: Verdict) -> str:
    if verdict.good:
        return ""
    shown = "".join(f"<li>{escape(finding)}" for finding in verdict.findings[:FINDINGS_SHOWN])
    more = len(verdict.findings) - FINDINGS_SHOWN
    rest = f"<p>and {more:,} more in verdict.json" if more > 0 else ""
    return f"<h2>Findings</h2><ul>{shown}</ul>{rest}"


def _table(rows: Sequence[Cost]) -> str:
    head = (
        "<tr><th>fault<th>times<th>requests<th>failed<th>share<th>longest outage<th>lost each"
        "<th>p50<th>p99</tr>"
    )
    body = "".join(
        f"<tr><td>{escape(row.fault)}<td>{row.times}<td>{row.requests:,}<td>{row.failed:,}"
        f"<td>{100 * row.failed_share:.2f} %<td>{row.longest_outage_s:.1f} s<td>{row.lost_s:.2f} s"
        f"<td>{row.p50_ms:.0f} ms<td>{row.p99_ms:,.0f} ms</tr>"
        for row in rows
    )
    return f"<table>{head}{body}</table>"
