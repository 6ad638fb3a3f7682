"""Every configuration is one that Envoy takes."""

import asyncio

import pytest

from envoy.binary import envoy_path
from envoy.rendering import render
from envoy.spec import TracingSpec
from tests.integration.envoy_rig import SERVICES, mesh_spec, new_directory


@pytest.mark.parametrize("tracing", [None, TracingSpec("zipkin.test", 9411, 1.0)])
async def test_envoy_takes_every_configuration(tracing: TracingSpec | None) -> None:
    async with new_directory() as directory:
        spec = mesh_spec(directory, (*SERVICES, "tweet_svc-2"), tracing)
        for name, path in render(spec, directory / "envoy").items():
            process = await asyncio.create_subprocess_exec(
                envoy_path(),
                *("--mode", "validate", "-c", str(path), "--log-level", "warning"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            assert process.returncode == 0, f"{name}: {output.decode()}"
            assert b"deprecated" not in output.lower(), f"{name}: {output.decode()}"
