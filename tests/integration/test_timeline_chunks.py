"""A fan-out in chunks that comes again after some followers left: nobody who stayed is missed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from starling.timeline.v1.timeline_events_pb2 import FanoutChunk
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.config import MeshConfig
from meshkit.consumer import EventMeta
from meshkit.events import EventBus
from meshkit.streams import FANOUT, TWEET_POSTED
from timeline_svc.fanout import Fanout

AUTHOR = 1
PAGE = 4


class Followers:
    """The pages of a list of followers, as the graph gives them; the process dies after some of them."""

    def __init__(self, ids: Sequence[int], pages: int = 1 << 30) -> None:
        self._ids = list(ids)
        self._pages = pages

    async def followers(
        self, user_id: int, page_size: int
    ) -> AsyncIterator[tuple[Sequence[int], int, bool]]:
        """See `Lookups.followers`; smaller pages."""
        for number, start in enumerate(range(0, len(self._ids), PAGE)):
            if number == self._pages:
                raise ConnectionError("the worker is killed")
            more = start + PAGE < len(self._ids)
            yield self._ids[start : start + PAGE], len(self._ids), more


async def reached(bus: EventBus) -> set[int]:
    """The followers of all chunks in the stream."""
    name = bus.prefix + FANOUT.name
    info = await bus.js.stream_info(name)
    ids: set[int] = set()
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await bus.js.get_msg(name, sequence)
        ids.update(FanoutChunk.FromString(message.data or b"").follower_ids)
    return ids


async def test_a_fan_out_cut_off_and_begun_again(mesh_config: MeshConfig) -> None:
    bus = await EventBus.open(
        mesh_config.model_copy(update={"nats_prefix": mesh_config.nats_prefix + "chunks_"}),
        (FANOUT,),
    )
    activity = Activity(at_ms=1, tweet_id=2, actor_id=AUTHOR, author_id=AUTHOR)
    meta = EventMeta(TWEET_POSTED, 7, 1, 1_000, "", {})

    async def fan_out(followers: Any) -> None:
        none: Any = None
        fanout = Fanout(bus, none, none, none, none, followers, celebrity_followers=1000)
        await fanout._to_followers(activity, meta, withdrawn=False)

    everybody = list(range(100, 100 + 12 * PAGE))
    try:
        # Chunks are published eight at a time: the first eight pages are, and the rest is not.
        with pytest.raises(ConnectionError):
            await fan_out(Followers(everybody, pages=9))
        assert await reached(bus) == set(everybody[: 8 * PAGE])
        stayed = everybody[3:]
        await fan_out(Followers(stayed))
        assert await reached(bus) >= set(stayed)
    finally:
        await bus.js.delete_stream(bus.prefix + FANOUT.name)
        await bus.close()
