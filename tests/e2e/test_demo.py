"""The demo passes on a mesh that works, and fails on one that does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .mesh import Mesh

pytestmark = pytest.mark.timeout(300)  # the first test may have to start the mesh


@pytest.fixture(scope="module")
def recorded(mesh: Mesh) -> Path:
    """A run of the demo on a part of the graph, as it was recorded."""
    before = set((mesh.run_dir / "demo").glob("*.json"))
    done = mesh.starling("demo", "reed98", "--people", "60", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout
    assert "60 home timelines" in done.stdout
    (file,) = set((mesh.run_dir / "demo").glob("*.json")) - before
    return file


def test_an_entry_that_was_lost_is_found(mesh: Mesh, recorded: Path) -> None:
    world = json.loads(recorded.read_text())
    tweet = next(tweet for tweet in world["tweets"] if not tweet["deleted"])
    reader = _person(world, tweet["author"])  # one's own tweet stands in one's own timeline
    key = f"timeline:{{{reader['user_id']}}}"
    assert mesh.redis("ZREM", key, str(tweet["tweet_id"])) == ":1"

    failed = mesh.starling("demo", "verify", str(recorded))
    assert failed.returncode == 1
    assert "FAILED: 1 difference for 1 person" in failed.stdout
    assert f"{reader['username']} misses tweet {tweet['tweet_id']}" in failed.stdout

    mesh.redis("DEL", key)
    mended = mesh.starling("demo", "verify", str(recorded))
    assert mended.returncode == 0, mended.stdout


def test_a_like_that_was_not_recorded_is_found(mesh: Mesh, recorded: Path) -> None:
    world = json.loads(recorded.read_text())
    like = world["likes"].pop()
    tampered = recorded.with_name("tampered.txt")
    tampered.write_text(json.dumps(world))

    failed = mesh.starling("demo", "verify", str(tampered))
    assert failed.returncode == 1
    assert f"tweet {like['tweet_id']}: likes_count is" in failed.stdout


def test_without_a_mesh_it_says_so(mesh: Mesh, tmp_path: Path) -> None:
    elsewhere = Mesh(tmp_path)
    failed = elsewhere.starling("demo", "reed98")
    assert failed.returncode == 1
    assert "The mesh does not run" in failed.stderr


def _person(world: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    return next(person for person in world["people"] if person["number"] == number)
