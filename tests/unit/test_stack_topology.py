"""The table of processes, its order, its ports, and settings that change it."""

import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from stack import ports, scale, settings, topology
from stack.errors import StackError
from stack.process import Process, in_order
from stack.run_dir import RunDir


def row(name: str, *needs: str) -> Process:
    return Process(name, ("true",), needs=needs)


def names(processes: list[Process]) -> list[str]:
    return [process.name for process in processes]


def test_each_stands_behind_what_it_needs() -> None:
    ordered = names(
        in_order([row("edge", "svc"), row("svc", "schema"), row("schema", "store"), row("store")])
    )
    assert ordered == ["store", "schema", "svc", "edge"]


def test_a_circle_is_refused_by_its_names() -> None:
    with pytest.raises(StackError, match="a -> b -> a"):
        in_order([row("a", "b"), row("b", "a")])


def test_a_need_that_is_not_there_is_refused() -> None:
    with pytest.raises(StackError, match="svc needs store"):
        in_order([row("svc", "store")])


def mesh(tmp_path: Path) -> topology.Topology:
    return topology.mesh(RunDir(tmp_path), topology.mesh_ports())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*settings.RELOADABLE, *settings.FIXED, "STARLING_PORTS"):
        monkeypatch.delenv(name, raising=False)


def test_the_mesh_has_every_process_with_its_sidecar(tmp_path: Path) -> None:
    services = ["gateway", "graph_svc", "tweet_svc", "timeline_svc", "fanout"]
    running = {process.name for process in mesh(tmp_path).processes if not process.once}
    assert running == {
        *("cassandra", "nats", "redis", "zipkin", "edge"),
        *services,
        *(f"{name}.envoy" for name in services),
    }


def replicated(tmp_path: Path) -> topology.Topology:
    return topology.replicated(RunDir(tmp_path), topology.replicated_ports())


def test_a_replicated_mesh_has_a_spare_of_everything_but_the_trace_store(tmp_path: Path) -> None:
    rows = {process.name: process for process in replicated(tmp_path).processes}
    running = Counter(
        scale.service_of(name.removesuffix(".envoy"))
        + (".envoy" if name.endswith(".envoy") else "")
        for name, row in rows.items()
        if not row.once
    )
    services = ("gateway", "graph_svc", "tweet_svc", "timeline_svc", "fanout")
    assert running == {
        "cassandra": 3,
        "nats": 3,
        "redis": 6,
        "zipkin": 1,
        "edge": 2,
        **{name: 2 for service in services for name in (service, f"{service}.envoy")},
    }
    second = rows["tweet_svc-2"]
    assert second.env["SERVICE_INSTANCE"] == "tweet_svc-2"
    assert second.env["LISTEN"] != rows["tweet_svc"].env["LISTEN"]
    assert second.env["NATS_REPLICAS"] == "3"
    assert second.env["NATS_URL"].count("nats://") == 3
    assert second.env["REDIS_URL"].startswith("redis+cluster://")
    assert rows["schema"].env["CASSANDRA_REPLICATION"] == "3"
    assert rows["schema"].env["CASSANDRA_CONTACT_POINTS"].count(",") == 2
    assert {"cassandra", "cassandra-2", "cassandra-3", "ring"} <= set(rows["schema"].needs)
    assert {"nats", "nats-2", "nats-3", "schema", "slots"} <= set(rows["timeline_svc-2"].needs)


def test_a_replicated_mesh_keeps_its_data_apart(tmp_path: Path) -> None:
    def kept(found: topology.Topology) -> set[str]:
        return {
            word
            for row in found.processes
            for word in row.command
            if word.startswith("-Dcassandra.storagedir=")
        }

    assert len(kept(replicated(tmp_path))) == 3
    assert not kept(replicated(tmp_path)) & kept(mesh(tmp_path))


@pytest.mark.parametrize("found", [mesh, replicated])
def test_no_two_processes_want_one_port(
    tmp_path: Path, found: Callable[[Path], topology.Topology]
) -> None:
    rows = found(tmp_path).processes
    wanted = [(row.host, port) for row in rows for port in row.ports]
    assert len(set(wanted)) == len(wanted)
    shared = {port for row in rows for port in row.shared_ports}
    assert shared == {8443}
    assert not shared & {port for _, port in wanted}


def test_addresses_are_the_documented_ones(tmp_path: Path) -> None:
    addresses = mesh(tmp_path).addresses
    assert addresses["api"] == "https://localhost:8443"
    assert addresses["traces"] == "http://127.0.0.1:9411/zipkin"


def test_the_api_port_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARLING_API_PORT", "9443")
    assert mesh(tmp_path).addresses["api"] == "https://localhost:9443"
    monkeypatch.setenv("STARLING_API_PORT", "https")
    with pytest.raises(StackError, match="STARLING_API_PORT"):
        mesh(tmp_path)


def test_a_cluster_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASSANDRA_CONTACT_POINTS", "10.0.0.1:9042,10.0.0.2:9042")
    rows = {process.name: process for process in mesh(tmp_path).processes}
    assert "cassandra" not in rows
    assert rows["tweet_svc"].env["CASSANDRA_CONTACT_POINTS"] == "10.0.0.1:9042,10.0.0.2:9042"
    assert rows["schema"].needs == ()


def test_settings_reach_the_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELEBRITY_FOLLOWERS", "5")
    rows = {process.name: process for process in mesh(tmp_path).processes}
    assert rows["fanout"].env["CELEBRITY_FOLLOWERS"] == "5"


def test_a_setting_starts_those_again_that_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def environments() -> dict[str, dict[str, str]]:
        return {row.name: dict(row.env) for row in mesh(tmp_path).processes}

    def changed_by(name: str, value: str) -> set[str]:
        before = environments()
        monkeypatch.setenv(name, value)
        return {row for row, env in environments().items() if env != before[row]}

    assert changed_by("RATE_LIMIT_USER_RPS", "7") == {"edge"}
    assert changed_by("CELEBRITY_FOLLOWERS", "5") == {"fanout"}
    assert changed_by("TWEET_MAX_CHARS", "280") == {"tweet_svc", "gateway"}
    assert {"gateway", "graph_svc", "fanout"} <= changed_by("LOG_LEVEL", "DEBUG")


def test_settings_that_decide_where_data_is_do_not_change_while_it_runs() -> None:
    assert settings.differences({"LOG_LEVEL": "INFO"}, {"CELEBRITY_FOLLOWERS": "5"}) == [
        "CELEBRITY_FOLLOWERS: default -> 5",
        "LOG_LEVEL: INFO -> default",
    ]
    with pytest.raises(StackError, match="down"):
        settings.differences({}, {"CASSANDRA_KEYSPACE": "other"})


def test_a_taken_port_is_said_with_its_holder() -> None:
    with socket.socket() as holder:
        holder.bind((ports.LOOPBACK, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StackError, match=rf"edge needs port {port}.*pid \d+ \(.*pytest"):
            ports.check_free("edge", [port])
    ports.check_free("edge", [port])


def test_a_shared_port_is_free_for_those_who_share_it() -> None:
    with socket.socket() as sharing:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind((ports.LOOPBACK, 0))
        sharing.listen()
        port = sharing.getsockname()[1]
        assert ports.is_free(port, shared=True)
        assert not ports.is_free(port)


def test_free_ports_are_all_different() -> None:
    found = ports.free_ports(50)
    assert len(set(found)) == 50
    assert all(ports.is_free(port) for port in found)


def test_sockets_of_a_deep_run_directory_stand_in_a_short_one(tmp_path: Path) -> None:
    near, far = RunDir(Path("/srv/starling/.run")), RunDir(tmp_path / ("deep" * 30))
    assert near.sockets == Path("/srv/starling/.run/sock")
    assert len(str(far.sockets / "timeline_svc.out.sock")) < 100
    far.make_sockets()
    (far.sockets / "stale.sock").touch()
    far.make_sockets()
    assert list(far.sockets.iterdir()) == []
    assert far.sockets.stat().st_mode & 0o777 == 0o700
    far.remove_sockets()
    assert not far.sockets.exists()
