"""Envoy's configuration messages as JSON values."""

from typing import Any

Json = dict[str, Any]


def typed(kind: str, **fields: Any) -> Json:
    """A message inside an Any; `kind` is its type without the leading "envoy."."""
    return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}


def extension(name: str, kind: str, **fields: Any) -> Json:
    """An extension's name and its typed configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def seconds(value: float) -> str:
    """A google.protobuf.Duration: `seconds(0.5)` is "0.5s"."""
    return f"{value:g}s"


def tcp(host: str, port: int) -> Json:
    """An address of a TCP port."""
    return {"socket_address": {"address": host, "port_value": port}}


def unix(path: object, mode: int | None = None) -> Json:
    """An address of a unix socket; `mode` is what a listener sets on it."""
    pipe: Json = {"path": str(path)}
    if mode is not None:
        pipe["mode"] = mode
    return {"pipe": pipe}


def set_header(name: str, value: str) -> Json:
    """A HeaderValueOption that replaces what there is."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def http_status(status: int) -> Json:
    """An access log filter, as local replies use it too: answers of this status."""
    return {
        "status_code_filter": {
            "comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": "unset"}}
        }
    }
