"""A whole process: ready, serving, drained on SIGTERM, and alive without its stores."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starling.tweet.v1 import tweet_service_pb2, tweet_service_pb2_grpc

from meshkit.channel import MeshChannel
from meshkit.config import MeshConfig
from meshkit.errors import StarlingError, Unavailable
from tests.conftest import until

PROGRAM = """
import asyncio
from starling.tweet.v1 import tweet_service_pb2, tweet_service_pb2_grpc
from meshkit.background import Background
from meshkit.config import MeshConfig
from meshkit.cql import Statement
from meshkit.process import Process, run
from meshkit.snowflake import SnowflakeGenerator
from meshkit.worker_lease import WorkerLease

READ = Statement("leases", "SELECT worker_id FROM worker_lease", idempotent=True)

class Tweets(tweet_service_pb2_grpc.TweetServiceServicer):
    def __init__(self, session, ids):
        self.session, self.ids = session, ids
    async def GetTweet(self, request, context):
        if request.tweet_id == 1:
            await asyncio.sleep(3.0)
        else:
            await self.session.execute(READ)
        response = tweet_service_pb2.GetTweetResponse()
        response.tweet.tweet_id = self.ids.next_id()
        return response

crashes = 0
async def crashing():
    global crashes
    crashes += 1
    if crashes < 3:
        raise RuntimeError("crash number %d" % crashes)
    try:
        await asyncio.sleep(3600)
    finally:
        print("finished cleanly", flush=True)

async def main():
    config = MeshConfig.from_env()
    async with Process(config) as process:
        session = await process.cassandra()
        await process.events([])
        ids = SnowflakeGenerator()
        lease = WorkerLease(session, ids, config.service_instance)
        add = tweet_service_pb2_grpc.add_TweetServiceServicer_to_server
        await process.serve(
            [(add, Tweets(session, ids))],
            background=[lease.background(), Background("crashing", crashing)],
            ready=[lease.wait_held],
        )

run(main)
"""
GET = tweet_service_pb2.GetTweetRequest(tweet_id=5)
SLOW = tweet_service_pb2.GetTweetRequest(tweet_id=1)


class Running:
    """The program above, its output, and a stub to it."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, listen: str) -> None:
        self.process = process
        self.listen = listen
        self._log = log
        self.channel = MeshChannel(listen)
        self.stub = tweet_service_pb2_grpc.TweetServiceStub(self.channel)

    def log(self) -> str:
        return self._log.read_text()

    async def status(self) -> int | None:
        """The health of the process, None while nobody answers."""
        async with grpc.aio.insecure_channel(self.listen) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.aio.AioRpcError:
                return None
        return int(reply.status)

    async def serving(self) -> bool:
        return await self.status() == health_pb2.HealthCheckResponse.SERVING


@asynccontextmanager
async def program(config: MeshConfig, **env: str) -> AsyncIterator[Running]:
    place = Path(tempfile.mkdtemp(prefix="mk"))
    (place / "program.py").write_text(PROGRAM)
    listen = f"unix:{place}/x.sock"
    root = Path(__file__).parent.parent.parent
    variables = {
        **os.environ,
        "PYTHONPATH": f"{root}:{root / 'gen'}",
        "SERVICE_INSTANCE": "program-1",
        "LISTEN": listen,
        "CASSANDRA_CONTACT_POINTS": config.cassandra_contact_points,
        "CASSANDRA_KEYSPACE": config.cassandra_keyspace,
        "NATS_URL": config.nats_url,
        "NATS_PREFIX": config.nats_prefix,
        **env,
    }
    log = place / "log"
    with log.open("w") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(place / "program.py"), env=variables, stdout=out, stderr=out
        )
    running = Running(process, log, listen)
    try:
        yield running
    finally:
        await running.channel.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
        shutil.rmtree(place)


async def test_it_serves_and_drains(mesh_config: MeshConfig) -> None:
    async with program(mesh_config, DRAIN_S="2") as running:
        await until(running.serving, 30, "readiness")
        first = (await running.stub.GetTweet(GET)).tweet.tweet_id
        assert (await running.stub.GetTweet(GET)).tweet.tweet_id > first
        await until(lambda: running.log().count("crash number") >= 2)
        slow = asyncio.ensure_future(running.stub.GetTweet(SLOW))
        await asyncio.sleep(0.1)
        running.process.send_signal(signal.SIGTERM)

        async def not_ready() -> bool:
            return await running.status() == health_pb2.HealthCheckResponse.NOT_SERVING

        await until(not_ready)
        # Not ready any more, and yet it still takes calls of those who have not seen it.
        await running.stub.GetTweet(GET)
        assert (await slow).tweet.tweet_id > first
        assert await asyncio.wait_for(running.process.wait(), 30) == 0
        log = running.log()
        assert "finished cleanly" in log
        assert '"stopped"' in log
        assert '"instance":"program-1"' in log
        assert not os.access(running.listen.removeprefix("unix:"), os.F_OK)


async def test_it_lives_without_its_stores(mesh_config: MeshConfig) -> None:
    async with program(
        mesh_config,
        CASSANDRA_CONTACT_POINTS="127.0.0.1:1",
        NATS_URL="nats://127.0.0.1:1",
        READY_WAIT_S="0.5",
    ) as running:
        await until(running.serving, 30, "readiness")
        started = time.monotonic()
        with pytest.raises(Unavailable) as error:
            await running.stub.GetTweet(GET)
        assert error.value.reason == "STORE_UNAVAILABLE"
        assert time.monotonic() - started < 5
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 30) == 0


async def test_a_killed_one_is_replaced_at_once(mesh_config: MeshConfig) -> None:
    made: list[int] = []
    for _ in range(3):
        async with program(mesh_config) as running:
            await until(running.serving, 30, "readiness")
            made += [(await running.stub.GetTweet(GET)).tweet.tweet_id for _ in range(20)]
            slow = asyncio.ensure_future(running.stub.GetTweet(SLOW))
            await asyncio.sleep(0.05)
            running.process.kill()
            with pytest.raises(StarlingError):
                await slow
    assert made == sorted(set(made))


async def test_a_taken_address_is_told(mesh_config: MeshConfig) -> None:
    async with program(mesh_config) as running:
        await until(running.serving, 30, "readiness")
        async with program(mesh_config, LISTEN=running.listen) as second:
            assert await asyncio.wait_for(second.process.wait(), 30) == 1
            assert "in use" in second.log()
