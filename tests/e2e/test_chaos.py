"""`make chaos` in small: a few different faults under load, and the check that nothing was lost by them.

And the check itself: it sees one tweet that is taken from one cached timeline.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from tests.chaos.checker import FeedName, Reading
from tests.chaos.crowd import Size
from tests.chaos.harness import Options, Run, run
from tests.chaos.history import ledger, read
from tests.chaos.plan import Fault, Step
from tests.chaos.rest import Rest
from tests.chaos.settle import settle
from tests.chaos.workload import Rates

from .mesh import Mesh

# Connections that time out while they are made are dropped half open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

SIZE = Size(authors=8, celebrities=1, readers=6, followees=3)
RATES = Rates(posts=10, homes=5, user_timelines=1, profiles=1)
STEPS = (
    Step((Fault("kill", "tweet_svc"),), 1.0),
    Step((Fault("pause", "nats", 3.0), Fault("kill", "fanout", after_s=1.0)), 1.0),
    Step((Fault("flush", "redis"), Fault("kill", "tweet_svc.envoy")), 1.0),
    Step((Fault("terminate", "timeline_svc"),), 1.0),
    Step((Fault("fill", "nats", 3.0),), 1.0),
    Step((Fault("kill", "edge"),), 1.0),
    Step((Fault("kill", "cassandra"),), 2.0),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def storm(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """A run of the harness, over."""
    options = Options(1, 0, len(STEPS), 300.0, RATES, SIZE, calm_s=2.0, command="this test")
    with mesh.settings(CELEBRITY_FOLLOWERS=str(SIZE.celebrity_followers)):
        yield await run(mesh, options, tmp_path_factory.mktemp("chaos"), STEPS)
    gc.collect()  # here, where what is dropped is forgiven


@pytest.mark.timeout(420)
def test_nothing_acknowledged_is_lost(storm: Run) -> None:
    assert storm.verdict.findings == []
    assert storm.verdict.acknowledged >= 50
    assert storm.verdict.faults == sum(len(step.faults) for step in STEPS)
    assert storm.verdict.feeds == 2 * SIZE.authors + SIZE.readers


@pytest.mark.timeout(420)
async def test_the_check_sees_one_tweet_taken_from_one_cached_timeline(
    storm: Run, mesh: Mesh
) -> None:
    reader = storm.crowd.readers[0]
    home = FeedName("home", reader.user_id)
    tweets = ledger(storm.history.attempts)
    async with Rest(mesh) as rest:

        async def look(names: Iterable[FeedName]) -> Reading:
            return await rest.read(names, storm.crowd.people)

        async def wrong() -> list[str]:
            settled = await settle([home], look, tweets, storm.crowd.follows, within_s=1.0)
            return [violation.wrong for violation in settled.violations]

        assert await wrong() == []
        shown = {entry.tweet_id for entry in storm.reading.feeds[home]}
        acknowledged = [
            t for t in tweets.values() if t.fate == "present" and t.answered_ids & shown
        ]
        [tweet_id] = acknowledged[0].answered_ids
        assert mesh.redis("ZREM", f"timeline:{{{reader.user_id}}}", tweet_id) == ":1"
        assert await wrong() == ["lost"]
        mesh.flush_redis()
        assert await wrong() == []


def test_a_report_is_left(storm: Run) -> None:
    assert {path.name for path in storm.out.iterdir()} == {
        "history.jsonl", "faults.jsonl", "verdict.json", "report.html"
    }  # fmt: skip
    assert "PASSED" in (storm.out / "report.html").read_text()
    assert list(read(storm.out / "history.jsonl")) == storm.history.attempts
