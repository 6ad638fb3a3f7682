"""The rendered configurations, read as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envoy.edge_errors import REFUSALS
from envoy.rendering import render
from envoy.spec import (
    Certificate,
    EdgeSpec,
    MeshSpec,
    RateLimits,
    ServiceSpec,
    TokenSpec,
    TracingSpec,
)

NAMES = ("gateway", "graph_svc", "tweet_svc", "tweet_svc-2", "timeline_svc", "fanout")


def pair(name: str) -> Certificate:
    return Certificate(Path(f"/certs/{name}.pem"), Path(f"/certs/{name}.key"))


@pytest.fixture(scope="module")
def spec() -> MeshSpec:
    return MeshSpec(
        edge=EdgeSpec(8443, 9901, pair("localhost"), pair("edge"), Path("/run/edge.sock")),
        services=tuple(
            ServiceSpec(
                name=instance.partition("-")[0],
                instance=instance,
                socket=Path(f"/run/{instance}.sock"),
                outbound_socket=Path(f"/run/{instance}.out.sock"),
                inbound_port=15000 + number,
                admin_port=15100 + number,
                certificate=pair(instance.partition("-")[0]),
            )
            for number, instance in enumerate(NAMES)
        ),
        ca=Path("/ca.pem"),
        token=TokenSpec("issuer", "audience"),
        limits=RateLimits(ip_rps=7, user_rps=3, auth_per_min=20),
        tracing=TracingSpec("127.0.0.1", 9411, 12.5),
    )


@pytest.fixture(scope="module")
def rendered(spec: MeshSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    paths = render(spec, tmp_path_factory.mktemp("envoy"))
    return {name: json.loads(path.read_text()) for name, path in paths.items()}


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside `value`."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walk(item)


def clusters(config: dict[str, Any]) -> dict[str, list[Any]]:
    """The endpoints of each cluster."""
    return {
        cluster["name"]: [
            endpoint["endpoint"]["address"]
            for locality in cluster["load_assignment"]["endpoints"]
            for endpoint in locality["lb_endpoints"]
        ]
        for cluster in config["static_resources"]["clusters"]
    }


def test_there_is_a_process_for_the_edge_and_for_each_instance(rendered: dict[str, Any]) -> None:
    assert set(rendered) == {"edge", *(f"{name}.envoy" for name in NAMES)}
    for name, config in rendered.items():
        assert config["node"] == {"id": name, "cluster": name}


def test_all_instances_of_a_service_are_called(rendered: dict[str, Any]) -> None:
    ports = [a["socket_address"]["port_value"] for a in clusters(rendered["edge"])["tweet_svc"]]
    assert ports == [15002, 15003]


def test_a_sidecar_knows_only_whom_its_service_calls(rendered: dict[str, Any]) -> None:
    assert set(clusters(rendered["tweet_svc.envoy"])) == {"local_service", "zipkin"}
    assert set(clusters(rendered["gateway.envoy"])) == {"local_service", "zipkin", "graph_svc"}
    lookups = {"local_service", "zipkin", "graph_svc", "tweet_svc"}
    assert set(clusters(rendered["timeline_svc.envoy"])) == lookups
    assert set(clusters(rendered["fanout.envoy"])) == lookups


def test_an_instance_is_reached_at_its_own_socket(rendered: dict[str, Any]) -> None:
    local = clusters(rendered["tweet_svc-2.envoy"])["local_service"]
    assert local == [{"pipe": {"path": "/run/tweet_svc-2.sock"}}]


def test_every_cluster_of_the_mesh_is_mutual_tls_and_checked(rendered: dict[str, Any]) -> None:
    for config in rendered.values():
        for cluster in config["static_resources"]["clusters"]:
            if cluster["name"] in ("local_service", "private", "zipkin"):
                continue
            tls = cluster["transport_socket"]["typed_config"]["common_tls_context"]
            (name,) = tls["validation_context"]["match_typed_subject_alt_names"]
            assert name["matcher"]["exact"] == f"spiffe://starling/{cluster['name']}"
            assert tls["tls_certificates"]
            assert cluster["health_checks"]
            assert cluster["outlier_detection"]["max_ejection_percent"] < 100


def test_only_safe_calls_are_repeated(rendered: dict[str, Any]) -> None:
    policies = {
        route["name"]: route["route"]["retry_policy"]["retry_on"]
        for route in walk(rendered["edge"])
        if "retry_policy" in route.get("route", {})
    }
    once = {name.rpartition("/")[2] for name, on in policies.items() if "unavailable" not in on}
    assert once == {"Register", "Login", "Refresh", "PostTweet", "DeleteTweet"}
    for name, retry_on in policies.items():
        if name.rpartition("/")[2] in once:
            assert not {"reset", "5xx", "gateway-error"} & set(retry_on.split(","))


def test_every_path_needs_a_token_unless_its_route_says_otherwise(rendered: dict[str, Any]) -> None:
    (jwt,) = (f for f in walk(rendered["edge"]) if f.get("name") == "jwt")
    assert jwt["typed_config"]["rules"][0]["match"] == {"prefix": "/"}
    open_routes = {
        route["name"].rpartition("/")[2]
        for route in walk(rendered["edge"])
        if "jwt" in route.get("typed_per_filter_config", {}) and "name" in route
    }
    open_calls = {"Register", "Login", "Refresh", "GetJwks", "GetOpenApi", "GetDocs"}
    assert open_routes == {*open_calls, "health"}


def test_limits_are_those_of_the_spec(rendered: dict[str, Any]) -> None:
    buckets = {
        f["name"]: f["typed_config"]["descriptors"][0]["token_bucket"]
        for f in walk(rendered["edge"])
        if "descriptors" in f.get("typed_config", {})
    }
    assert buckets == {
        "ip_limit": {"max_tokens": 14, "tokens_per_fill": 7, "fill_interval": "1s"},
        "user_limit": {"max_tokens": 6, "tokens_per_fill": 3, "fill_interval": "1s"},
        "auth_limit": {"max_tokens": 20, "tokens_per_fill": 20, "fill_interval": "60s"},
    }


def test_the_edge_samples_and_others_follow(rendered: dict[str, Any]) -> None:
    def sampling(config: dict[str, Any]) -> list[float]:
        return [
            t["tracing"]["random_sampling"]["value"]
            for t in walk(config)
            if "provider" in t.get("tracing", {})
        ]

    assert sampling(rendered["edge"]) == [12.5, 0.0]
    assert sampling(rendered["tweet_svc.envoy"]) == [100.0, 100.0]


def test_admin_listens_on_loopback_alone(rendered: dict[str, Any]) -> None:
    for config in rendered.values():
        assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_every_refusal_is_a_status_of_its_own() -> None:
    statuses = [refusal.status for refusal in REFUSALS]
    assert len(set(statuses)) == len(statuses)
    for refusal in REFUSALS:
        body = refusal.body()
        assert set(body) == {"code", "message", "details"}
        assert 1 <= body["code"] <= 16
