"""The list of mutants does not rot: each still finds its place, its tests, and its line on the page."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.mutants.catalogue import MUTANTS, PAGE, page
from tests.mutants.mutant import ROOT, Mutant

TRAPS = ROOT / "docs" / "traps.md"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutants_text_stands_once_in_its_file(mutant: Mutant) -> None:
    text = (ROOT / mutant.path).read_text()
    assert mutant.applied_to(text) != text


def test_the_tests_that_catch_them_are_there() -> None:
    for mutant in MUTANTS:
        assert mutant.caught_by, mutant.name
        for test in mutant.caught_by:
            file, _, name = test.partition("::")
            defined = re.search(
                rf"^(async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.M
            )
            assert defined, f"{mutant.name}: {test} is not there any more"


def test_names_are_their_own_and_the_page_is_current() -> None:
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1
    assert PAGE.read_text() == page(), "run: .venv/bin/python -m tests.mutants --page"


def test_the_page_of_traps_names_what_there_is() -> None:
    text = TRAPS.read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| **")]
    assert len(rows) >= 10
    for row in rows:
        mutants = re.findall(r"`([a-z0-9-]+)`", row[4])
        assert mutants, row[1]
        assert set(mutants) <= {mutant.name for mutant in MUTANTS}, row[1]
        for decision in re.findall(r"\((adr/[^)]+)\)", row[2]):
            assert (TRAPS.parent / decision).is_file(), decision
        for test in re.findall(r"`(test_\w+)`", row[3]):
            files = list((ROOT / "tests").glob(f"*/{test}.py"))
            assert files or _is_a_test(test), test


def _is_a_test(name: str) -> bool:
    files = (ROOT / "tests").glob("*/test_*.py")
    return any(re.search(rf"^(async )?def {name}\(", file.read_text(), re.M) for file in files)
