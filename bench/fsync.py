"""`python -m bench.fsync`: a post is answered only when the disks have it, by the kernel's own account.

Attaches strace to the Cassandra and the NATS of the mesh that runs, posts one tweet after another, and looks
for each whether, between request and answer, Cassandra's commit log was synced (msync of its segment, which
is mapped into memory) and NATS synced what it had written of the stream TWEETS. Needs strace, and the right
to attach it (root, or the same user where kernel.yama.ptrace_scope is 0).
"""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from bench.mesh import Mesh

POSTS = 20
_SYNCS = "fsync,fdatasync,msync,sync_file_range"
_DONE = re.compile(r"^(\d+) (\d+\.\d+) (?:<\.\.\. )?(\w+)(.*) = 0 <(\d+\.\d+)>$")
_BEGUN = re.compile(r"^(\d+) \d+\.\d+ (\w+)\((.*) <unfinished \.\.\.>$")


def main() -> int:
    """0 when every post was synced by both."""
    if shutil.which("strace") is None:
        raise SystemExit("strace is not installed (Debian: apt-get install strace).")
    mesh = Mesh()
    with tempfile.TemporaryDirectory() as folder:
        traces = {name: Path(folder) / name for name in ("cassandra", "nats")}
        tracers = [_attach(mesh.pids()[name], trace) for name, trace in traces.items()]
        try:
            time.sleep(2.0)  # strace attaches to a hundred threads, one after another
            posts = _post(mesh)
        finally:
            for tracer in tracers:
                tracer.terminate()
                tracer.wait()
        synced = {
            "Cassandra's commit log": _syncs(traces["cassandra"], lambda call: "msync" in call),
            "NATS' TWEETS": _syncs(traces["nats"], lambda call: "/TWEETS/msgs/" in call),
        }
    missing = 0
    for sent, answered in posts:
        row = []
        for what, ends in synced.items():
            within = [end for end in ends if sent < end < answered]
            missing += not within
            row.append(
                f"{what} synced after {(min(within) - sent) * 1000:.1f} ms"
                if within
                else f"{what} NOT SYNCED"
            )
        print(f"answered after {(answered - sent) * 1000:6.1f} ms: {'; '.join(row)}")
    print("Every post was on both disks before its answer." if not missing else "FAILED")
    return 1 if missing else 0


def _attach(pid: int, trace: Path) -> subprocess.Popen[bytes]:
    command = ["strace", "-f", "-ttt", "-T", "-y", "-e", f"trace={_SYNCS}", "-o", str(trace)]
    return subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.DEVNULL)


def _post(mesh: Mesh) -> list[tuple[float, float]]:
    """When each post was sent and answered (s since 1970)."""
    times = []
    with httpx.Client(base_url=mesh.api, verify=mesh.tls, timeout=30) as client:
        body = {
            "username": f"fsync_{secrets.token_hex(4)}",
            "display_name": "Fsync",
            "password": secrets.token_urlsafe(12),
        }
        token = client.post("/v1/users", json=body).raise_for_status().json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        for number in range(POSTS):
            time.sleep(0.3)  # so that what the last one left to be done is done
            sent = time.time()
            answer = client.post("/v1/tweets", json={"content": f"sync {number}"}, headers=headers)
            answer.raise_for_status()
            times.append((sent, time.time()))
    return times


def _syncs(trace: Path, ours: Callable[[str], bool]) -> list[float]:
    """When syncs that are `ours` ended, in s since 1970."""
    ends: list[float] = []
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        if start := _BEGUN.match(line):
            begun[start[1]] = f"{start[2]}({start[3]}"
        elif done := _DONE.match(line):
            thread, at, name, rest, took = done.groups()
            resumed = "resumed>" in rest
            call = begun.pop(thread, "") if resumed else name + rest
            if ours(call):
                # strace stamps a call that others interrupted when it comes back, else when it begins.
                ends.append(float(at) + (0.0 if resumed else float(took)))
    return ends


if __name__ == "__main__":
    raise SystemExit(main())
