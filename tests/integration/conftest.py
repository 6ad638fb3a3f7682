"""A Valkey cluster that the run's tests share; each finds it whole and empty, and may break it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.valkey_cluster import ValkeyCluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ValkeyCluster]:
    """Started once."""
    started = await ValkeyCluster.start(tmp_path_factory.mktemp("valkey"))
    yield started
    started.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(shared_cluster: ValkeyCluster) -> ValkeyCluster:
    """Whole and empty."""
    await shared_cluster.heal()
    await shared_cluster.flush()
    return shared_cluster
