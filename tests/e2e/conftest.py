"""One mesh for all end-to-end tests: started once, taken down at the end.

`mesh`      the processes: settings, pids, kill -9
`rest`      the public API, for each module
`register`  makes people: `ada, bob = register(2)`
`lap`       how often the test has run before; with `STARLING_LOOP=50` tests marked `soak` run fifty times
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .mesh import Mesh
from .rest import Person, Rest

FAULTS_LAST = ("test_model", "test_limits", "test_demo", "test_faults", "test_chaos")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that change the mesh's settings run after the others, and those that break it last."""

    def place(item: pytest.Item) -> int:
        module = item.path.stem
        if Path(__file__).parent not in item.path.parents:
            return -1
        return FAULTS_LAST.index(module) + 1 if module in FAULTS_LAST else 0

    def lap(item: pytest.Item) -> int:
        callspec = getattr(item, "callspec", None)
        return callspec.params.get("lap", 0) if callspec else 0

    for item in items:
        if place(item) >= 0 and not item.get_closest_marker("timeout"):
            # A whole mesh on a machine that does much else is slow.
            item.add_marker(pytest.mark.timeout(300))
    if "STARLING_LONG" not in os.environ:
        skip = pytest.mark.skip(reason="takes minutes: STARLING_LONG=1 runs it")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(skip)
    # A module's tests in turn, lap by lap.
    items.sort(key=lambda item: (place(item), lap(item)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeats the tests marked `soak`."""
    laps = int(os.environ.get("STARLING_LOOP", "1"))
    if laps > 1 and metafunc.definition.get_closest_marker("soak"):
        if "lap" not in metafunc.fixturenames:
            metafunc.fixturenames.append("lap")
        metafunc.parametrize("lap", range(laps), indirect=True)


@pytest.fixture
def lap(request: pytest.FixtureRequest) -> int:
    """Which time this is, from 0: for seeds."""
    return int(getattr(request, "param", 0))


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that runs; with `STARLING_E2E_RUN_DIR` one is kept there between runs of the tests, with
    `STARLING_E2E_REPLICATED=1` it is a replicated one.
    """
    kept = os.environ.get("STARLING_E2E_RUN_DIR")
    replicated = os.environ.get("STARLING_E2E_REPLICATED") == "1"
    running = Mesh(Path(kept) if kept else tmp_path_factory.mktemp("mesh"), replicated=replicated)
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
