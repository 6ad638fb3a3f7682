"""The list of mutants does not rot: each still finds its place, its tests, and its line on the page."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.mutants.catalogue import MUTANTS, PAGE, page
from tests.mutants.mutant import ROOT, Mutant


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
