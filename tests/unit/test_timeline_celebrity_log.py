"""The celebrity log in memory: what a timeline that slept may still merge, and what it may not."""

from __future__ import annotations

from starling.timeline.v1.timeline_events_pb2 import CelebrityActivity
from starling.tweet.v1.tweet_pb2 import Activity

from tests.integration.timeline_rig import MemoryLog
from timeline_svc.celebrity_log import MERGE_AT_MOST

HOUR_MS = 3_600_000
FIRST_ID = 1_500_000_000_000_000_000


def hear(log: MemoryLog, number: int, at_ms: int, *, withdrawn: bool = False) -> None:
    activity = Activity(tweet_id=FIRST_ID + number, at_ms=at_ms, actor_id=7, author_id=8)
    log.hear(CelebrityActivity(activity=activity, withdrawn=withdrawn), at_ms)


def test_what_came_since_in_order() -> None:
    log = MemoryLog()
    for number in range(5):
        hear(log, number, 1000 + number, withdrawn=number == 3)
    found = log.since(2)
    assert found is not None
    assert [(kind, int(tweet_id) - FIRST_ID) for kind, tweet_id, *_ in found] == [
        ("activity", 2),
        ("withdraw", 3),
        ("activity", 4),
    ]
    assert log.since(5) == []


def test_who_slept_past_what_is_kept_has_to_rebuild() -> None:
    log = MemoryLog()
    hear(log, 1, 0)
    hear(log, 2, HOUR_MS // 2)
    hear(log, 3, HOUR_MS + 1)  # and the first is forgotten
    assert log.since(0) is None
    assert len(log.since(1) or ()) == 2
    hear(log, 4, 3 * HOUR_MS)
    assert log.since(2) is None
    assert len(log.since(3) or ()) == 1


def test_too_much_at_once_is_rebuilt() -> None:
    log = MemoryLog()
    for number in range(MERGE_AT_MOST + 1):
        hear(log, number, 0)
    assert log.since(0) is None
    assert len(log.since(1) or ()) == MERGE_AT_MOST
