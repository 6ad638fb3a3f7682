"""A cluster made of real Valkey servers by the step of the replicated mesh."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from stack.ports import free_ports
from stack.process import NotReadyError, Process
from stack.run_dir import RunDir
from stack.scale import REDIS_PRIMARIES, REPLICATED, instances
from stack.valkey import valkey
from stack.valkey_cluster import Node
from tests.conftest import until


@asynccontextmanager
async def servers(tmp_path: Path) -> AsyncIterator[tuple[list[int], Process]]:
    """The ports of running servers, and the step that is to make a cluster of them."""
    names = instances("redis", REPLICATED.redis)
    wanted = [*names, *(f"{name}.bus" for name in names)]
    ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))
    *rows, step = valkey(RunDir(tmp_path), ports, REPLICATED).processes
    async with AsyncExitStack() as running:
        for row in rows:
            assert row.prepare
            row.prepare()
            child = await asyncio.create_subprocess_exec(
                *row.command, stdout=asyncio.subprocess.DEVNULL
            )
            running.push_async_callback(child.wait)
            running.callback(child.kill)
        for row in rows:
            await until(lambda row=row: answers(row), 20, row.name)  # type: ignore[misc]
        yield [ports[name] for name in names], step


async def answers(row: Process) -> bool:
    assert row.ready
    try:
        await row.ready()
    except (NotReadyError, OSError):
        return False
    return True


async def run(step: Process) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, *step.command[1:], stderr=asyncio.subprocess.PIPE
    )
    _, said = await child.communicate()
    assert child.returncode == 0, said.decode()


@pytest.mark.timeout(120)
async def test_six_servers_become_three_shards_with_a_replica_each(tmp_path: Path) -> None:
    async with servers(tmp_path) as (ports, step):
        await run(step)
        nodes = [Node(port) for port in ports]
        roles = [node.call("ROLE") for node in nodes]
        assert [role[0] for role in roles] == ["master"] * 3 + ["slave"] * 3
        assert sorted(role[2] for role in roles[REDIS_PRIMARIES:]) == sorted(ports[:3])
        assert {node.info()["cluster_slots_ok"] for node in nodes} == {"16384"}
        await run(step)  # of a cluster that is there it makes no other
        assert [node.call("ROLE")[0] for node in nodes] == [role[0] for role in roles]
        for node in nodes:
            node.close()
