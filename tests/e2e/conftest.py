"""One mesh for all end-to-end tests: started once, taken down at the end.

`mesh`      the processes: settings, pids, kill -9
`rest`      the public API, for each module
`register`  makes people: `ada, bob = register(2)`
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .mesh import Mesh
from .rest import Person, Rest

FAULTS_LAST = ("test_model", "test_limits", "test_demo", "test_faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that change the mesh's settings run after the others, and those that break it last."""

    def place(item: pytest.Item) -> int:
        module = item.path.stem
        if Path(__file__).parent not in item.path.parents:
            return -1
        return FAULTS_LAST.index(module) + 1 if module in FAULTS_LAST else 0

    items.sort(key=place)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that runs; with `STARLING_E2E_RUN_DIR` one is kept there between runs of the tests."""
    kept = os.environ.get("STARLING_E2E_RUN_DIR")
    running = Mesh(Path(kept) if kept else tmp_path_factory.mktemp("mesh"))
    try:
        running.up()
        yield running
    finally:
        if not kept:
            running.down()


@pytest.fixture(scope="module")
def rest(mesh: Mesh) -> Iterator[Rest]:
    """Calls through the edge."""
    opened = Rest(mesh.api, mesh.ca)
    yield opened
    opened.close()


@pytest.fixture
def register(rest: Rest) -> Callable[[int], list[Person]]:
    """As many new people as asked for."""

    def people(count: int) -> list[Person]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda _: rest.register(), range(count)))

    return people
