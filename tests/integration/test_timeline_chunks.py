"""A fan-out in chunks that comes again after some followers left: nobody who stayed is missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from starling.timeline.v1.timeline_events_pb2 import FanoutChunk
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.config import MeshConfig
from meshkit.consumer import EventMeta
from meshkit.events import EventBus
from meshkit.streams import FANOUT, TWEET_POSTED
from tests.conftest import until
from timeline_svc import fanout
from timeline_svc.lookups import FollowerPage

AUTHOR = 1
PAGE = 4


class Followers:
    """The pages of a list of followers, as the graph gives them; the process dies after some of them."""

    def __init__(self, ids: Sequence[int], pages: int = 1 << 30) -> None:
        self._ids = list(ids)
        self._pages = pages

    async def followers(self, user_id: int, token: bytes, page_size: int) -> FollowerPage:
        """See `Lookups.followers`."""
        if not self._pages:
            raise ConnectionError("the worker is killed")
        self._pages -= 1
        start = int(token or b"0")
        end = start + page_size
        token = str(end).encode() if end < len(self._ids) else b""
        return FollowerPage(self._ids[start:end], len(self._ids), token)


async def reached(bus: EventBus) -> set[int]:
    """The followers of all chunks in the stream."""
    name = bus.prefix + FANOUT.name
    info = await bus.js.stream_info(name)
    ids: set[int] = set()
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await bus.js.get_msg(name, sequence)
        ids.update(FanoutChunk.FromString(message.data or b"").follower_ids)
    return ids


async def test_a_fan_out_cut_off_and_begun_again(
    mesh_config: MeshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "FIRST_PAGE", PAGE)
    monkeypatch.setattr(fanout, "LARGEST_PAGE", 2 * PAGE)
    monkeypatch.setattr(fanout, "FOLLOWERS_A_CHUNK", PAGE)
    monkeypatch.setattr(fanout, "DIRECT_FOLLOWERS", 0)
    bus = await EventBus.open(
        mesh_config.model_copy(update={"nats_prefix": mesh_config.nats_prefix + "chunks_"}),
        (FANOUT,),
    )
    activity = Activity(at_ms=1, tweet_id=2, actor_id=AUTHOR, author_id=AUTHOR)
    meta = EventMeta(TWEET_POSTED, 7, 1, 1_000, "", {})

    async def fan_out(followers: Any) -> None:
        none: Any = None
        worker = fanout.Fanout(bus, none, none, none, none, followers, celebrity_followers=1000)
        page = await worker._first_page(activity)
        await worker._to_followers(activity, page, meta, withdrawn=False)

    everybody = list(range(100, 100 + 12 * PAGE))
    try:
        # A page is published while the next is read: the first two are, and the rest is not.
        with pytest.raises(ConnectionError):
            await fan_out(Followers(everybody, pages=2))
        first = set(everybody[: 3 * PAGE])

        async def published() -> bool:
            return await reached(bus) == first

        await until(published)
        stayed = everybody[3:]
        await fan_out(Followers(stayed))
        assert await reached(bus) >= set(stayed)
    finally:
        await bus.js.delete_stream(bus.prefix + FANOUT.name)
        await bus.close()
