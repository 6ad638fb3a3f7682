"""Fixtures of all tests. Engines are started once a run and shared; what a test writes is its own.

`engines`       where Cassandra, NATS and Valkey answer (started only if a test asks)
`mesh_config`   a configuration with a fresh keyspace, all schemas applied, and prefixes for NATS and Redis;
                one for each test module
`cache_config`  the same without the keyspace: for tests that need no Cassandra, and so start at once
`session`       a CqlSession on it, `bus` an EventBus without streams of its own: for each test module
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio

from meshkit import schema
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession
from meshkit.events import EventBus
from tests.engines import Engines, find_or_start


async def until(
    condition: Callable[[], Awaitable[bool] | bool], within_s: float = 20.0, what: str = "it"
) -> None:
    """Poll `condition` until it holds; fails the test after `within_s`."""
    end = asyncio.get_running_loop().time() + within_s
    while True:
        result = condition()
        if await result if isinstance(result, Awaitable) else result:
            return
        assert asyncio.get_running_loop().time() < end, f"{what} did not happen in {within_s} s"
        await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """The engines shared by the run."""
    found = find_or_start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def cache_config(engines: Engines) -> MeshConfig:
    """Names that nobody else uses; the keyspace is not there."""
    unique = secrets.token_hex(4)
    return MeshConfig(
        service_instance=f"test-{unique}",
        cassandra_contact_points=engines.cassandra,
        cassandra_keyspace=f"t_{unique}",
        nats_url=engines.nats,
        nats_prefix=f"t{unique}_",
        redis_url=engines.redis,
        redis_prefix=f"t{unique}:",
    )


@pytest.fixture(scope="module")
def mesh_config(cache_config: MeshConfig) -> Iterator[MeshConfig]:
    """A keyspace and prefixes that nobody else uses."""
    schema.apply(cache_config)
    yield cache_config
    schema.drop(cache_config)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def session(mesh_config: MeshConfig) -> AsyncIterator[CqlSession]:
    """A connected session on the module's keyspace."""
    opened = await CqlSession.open(mesh_config)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bus(mesh_config: MeshConfig) -> AsyncIterator[EventBus]:
    """A connected bus; its streams are removed afterwards."""
    opened = await EventBus.open(mesh_config, ())
    yield opened
    for stream in await opened.js.streams_info():
        if stream.config.name and stream.config.name.startswith(mesh_config.nats_prefix):
            await opened.js.delete_stream(stream.config.name)
    await opened.close()
