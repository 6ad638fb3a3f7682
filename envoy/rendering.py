"""From a `MeshSpec` to a configuration file for each Envoy."""

import json
from pathlib import Path

from envoy import policy
from envoy.api import read_api, transcodable
from envoy.edge import edge
from envoy.extension import Json
from envoy.sidecar import sidecar
from envoy.spec import MeshSpec


def render(spec: MeshSpec, out_dir: Path) -> dict[str, Path]:
    """Writes `<process>.json` for every process into `out_dir`, and returns them by the process's
    name: "edge", "tweet_svc.envoy", "tweet_svc-2.envoy". `api.binpb` beside them is the edge's.

    Raises ValueError if the policy does not fit the API, OSError if a file cannot be written.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    descriptor = out_dir / "api.binpb"
    descriptor.write_bytes(transcodable(spec.descriptor))
    paths = {}
    for process, content in configurations(spec, descriptor).items():
        paths[process] = out_dir / f"{process}.json"
        paths[process].write_text(json.dumps(content, indent=1) + "\n")
    return paths


def configurations(spec: MeshSpec, descriptor: Path) -> dict[str, Json]:
    """The configurations, by the process's name; `descriptor` is what the transcoder reads."""
    api = read_api(spec.descriptor)
    policy.check(api)
    sidecars = {f"{s.instance}.envoy": sidecar(spec, api, s) for s in spec.services}
    return {"edge": edge(spec, api, descriptor), **sidecars}
