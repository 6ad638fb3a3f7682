"""All mutants, and the page that lists them."""

from __future__ import annotations

from tests.mutants.entrance import ENTRANCE
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.timelines import TIMELINES
from tests.mutants.writes import WRITES

MUTANTS: list[Mutant] = [*TIMELINES, *WRITES, *ENTRANCE]
PAGE = ROOT / "tests" / "mutants" / "README.md"

_HEAD = """# Mutants

Deliberate bugs, each a line or so, and the tests that fail for it: proof that the suite would notice.
`make mutants` applies them to a copy of the tree, one after another, runs the tests named, and reports each
mutant that survives; `.venv/bin/python -m tests.mutants NAME` runs one. A unit test keeps the list from
rotting.

This page is made from the list (`.venv/bin/python -m tests.mutants --page`).

| mutant | in | what users would see | caught by |
|---|---|---|---|
"""


def page() -> str:
    """The text of `PAGE`."""
    rows = []
    for mutant in MUTANTS:
        tests = "<br>".join(f"`{test.rpartition('::')[2]}`" for test in mutant.caught_by)
        rows.append(f"| {mutant.name} | `{mutant.path}` | {mutant.matters} | {tests} |\n")
    return _HEAD + "".join(rows)
