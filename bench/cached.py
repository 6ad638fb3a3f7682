"""Cached timelines put straight into Redis, as a rebuild would install them: thousands a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.background import gather_bounded
from timeline_svc.lookups import Flags
from timeline_svc.timeline_cache import TimelineCache

LEASE_S = 10.0
_TOKEN = "bench"


async def install(
    cache: TimelineCache,
    readers: Iterable[int],
    followees: Sequence[int],
    entries: Sequence[Activity] = (),
    *,
    complete: bool,
) -> None:
    """The same timeline, newest entry first, for all these readers."""

    async def one(reader: int) -> None:
        await cache.invalidate(reader)
        begun = await cache.begin_rebuild(reader, _TOKEN)
        await cache.install(
            reader,
            token=_TOKEN,
            epoch=begun.epoch,
            sync=0,
            complete=complete,
            followees=followees,
            entries=entries,
            flags=Flags({}, 0),
        )

    await gather_bounded(8, one, readers)
