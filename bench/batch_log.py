"""`python -m bench.batch_log`: a post as one LOGGED batch, against its outbox row first and then its rows.

One at a time (what a caller waits for) and 32 at once (what it costs), in turns, on the Cassandra that the
environment names (CASSANDRA_CONTACT_POINTS). `--pid` is Cassandra's, for its CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import cast

from cassandra.query import BatchStatement, BatchType
from starling.tweet.v1.tweet_events_pb2 import TweetEvent, TweetPosted
from starling.tweet.v1.tweet_pb2 import Tweet

from bench.cpu import LOAD, CpuMeter
from meshkit import schema
from meshkit.background import gather_bounded
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Item
from meshkit.events import EventBus
from meshkit.outbox import Outbox, OutboxRow
from meshkit.snowflake import created_at, first_id_at, timestamp_ms, wall_clock_ms
from tweet_svc.activity_store import ActivityStore
from tweet_svc.tweet_store import posted_rows

ROUNDS = 3
AUTHORS = 200
LOADS = ((1, 150), (32, 3000))
"""(at once, posts)"""


class Posts:
    """Makes posts and writes them in either way."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session
        self._outbox = Outbox(session, cast(EventBus, None), "tweet_outbox")
        self._activity = ActivityStore(session)
        self._numbers = itertools.count(1)

    def _post(self) -> tuple[OutboxRow, list[Item], int]:
        number = next(self._numbers)
        author_id, tweet_id = number % AUTHORS + 1, first_id_at(wall_clock_ms()) + number % 4096
        tweet = Tweet(
            tweet_id=tweet_id,
            user_id=author_id,
            username="author",
            content=str(number).ljust(80, "x"),
            created_at=created_at(tweet_id),
        )
        posted = TweetPosted(tweet=tweet, at_ms=timestamp_ms(tweet_id))
        rows = [*posted_rows(posted), *self._activity.posted_rows(posted)]
        self._activity.written(author_id, posted.at_ms)
        row = self._outbox.row(
            "tweet.posted", TweetEvent(posted=posted), msg_id=f"bench:{tweet_id}:{number}"
        )
        return row, rows, posted.at_ms * 1000

    async def logged(self) -> None:
        """All in one LOGGED batch: Cassandra writes it into its batch log first."""
        row, rows, at_us = self._post()
        batch = BatchStatement(BatchType.LOGGED)
        for statement, params in (*rows, self._outbox.insert(row)):
            batch.add(await self._session._bindable(statement), params)
        await self._session._send(batch, at_us, None)

    async def outbox_first(self) -> None:
        """As the services write."""
        row, rows, at_us = self._post()
        await self._outbox.write(row, rows, timestamp_us=at_us)


async def main(pid: int) -> None:
    """Prints a line for each way, load and round."""
    config = MeshConfig.from_env().model_copy(
        update={"cassandra_keyspace": f"bench_{secrets.token_hex(4)}"}
    )
    await asyncio.to_thread(schema.apply, config)
    session = await CqlSession.open(config)
    try:
        posts = Posts(session)
        for _ in range(ROUNDS):
            for name, write in (("logged", posts.logged), ("outbox first", posts.outbox_first)):
                for at_once, count in LOADS:
                    print(
                        f"{name:13}{at_once:3} at once: {await _measure(write, at_once, count, pid)}"
                    )
    finally:
        await session.close()
        await asyncio.to_thread(schema.drop, config)


async def _measure(write: Callable[[], Awaitable[None]], at_once: int, count: int, pid: int) -> str:
    took_ms: list[float] = []

    async def one(_: int) -> None:
        started = time.perf_counter()
        await write()
        took_ms.append((time.perf_counter() - started) * 1000)

    with CpuMeter({"cassandra": pid}) as meter:
        await gather_bounded(at_once, one, range(count))
    took_ms.sort()
    each = meter.us_each(count)
    return (
        f"median {took_ms[count // 2]:5.1f} ms, p99 {took_ms[count * 99 // 100]:5.1f} ms,"
        f" {count / meter.elapsed_s:6.0f}/s; µs of CPU a post: the client {each[LOAD]:.0f},"
        f" cassandra {each.get('cassandra', 0):.0f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.batch_log", description=__doc__)
    parser.add_argument("--pid", type=int, default=0)
    asyncio.run(main(parser.parse_args().pid))
