"""Applies mutants to a copy of the tree, and sees whether the tests named fail."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.engines import find_or_start
from tests.mutants.catalogue import MUTANTS, PAGE, page
from tests.mutants.mutant import ROOT, Mutant

MOST_S = 600
PASSED, FAILED = 0, 1


def main() -> int:
    """0 when every mutant asked for was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run; all without")
    parser.add_argument("--list", action="store_true", help="show what there is")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args()
    if chosen.list:
        print(*(f"{mutant.name:40} {mutant.matters}" for mutant in MUTANTS), sep="\n")
        return 0
    if chosen.page:
        PAGE.write_text(page())
        return 0
    known = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := set(chosen.names) - set(known):
        parser.error(f"no mutant is called {', '.join(sorted(unknown))}: --list shows them")
    return _hunt([known[name] for name in chosen.names] or MUTANTS)


def _hunt(mutants: Sequence[Mutant]) -> int:
    engines = find_or_start()
    environment = {
        **os.environ,
        "CASSANDRA_CONTACT_POINTS": engines.cassandra,
        "NATS_URL": engines.nats,
        "REDIS_URL": engines.redis,
        # A file changed twice in a second would be taken for its compiled form.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        with _copy_of_the_tree() as tree:
            environment["PYTHONPATH"] = f"{tree}{os.pathsep}{tree / 'gen'}"
            every = list(dict.fromkeys(test for mutant in mutants for test in mutant.caught_by))
            print(f"Without a mutant: {len(every)} tests ", end="", flush=True)
            outcome, told, took_s = _run(tree, environment, every)
            if outcome != PASSED:
                print(f"do not pass, so they would prove nothing:\n{told}")
                return 1
            print(f"pass ({took_s:.0f} s)")
            return _report([mutant for mutant in mutants if not _caught(mutant, tree, environment)])
    finally:
        engines.stop()


def _report(survivors: Sequence[Mutant]) -> int:
    if survivors:
        print(f"{len(survivors)} survived: {', '.join(mutant.name for mutant in survivors)}")
        return 1
    print("All were caught.")
    return 0


def _caught(mutant: Mutant, tree: Path, environment: dict[str, str]) -> bool:
    file = tree / mutant.path
    sound = file.read_text()
    file.write_text(mutant.applied_to(sound))
    try:
        for test in mutant.caught_by:
            print(f"{mutant.name:40} ", end="", flush=True)
            outcome, told, took_s = _run(tree, environment, [test])
            name = test.rpartition("::")[2]
            if outcome == PASSED:
                print(f"SURVIVED {name} ({took_s:.0f} s)")
                return False
            if outcome != FAILED:
                print(f"is no bug but a ruin: pytest ended with {outcome}\n{told}")
                return False
            print(f"caught by {name} ({took_s:.0f} s)", flush=True)
        return True
    finally:
        file.write_text(sound)


def _run(tree: Path, environment: dict[str, str], tests: Sequence[str]) -> tuple[int, str, float]:
    """pytest's exit status, what it said last, and the seconds it took."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=short"]
    started = time.monotonic()
    try:
        done = subprocess.run(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=MOST_S,
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"no end after {MOST_S} s", MOST_S
    told = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
    return done.returncode, told, time.monotonic() - started


@contextmanager
def _copy_of_the_tree() -> Iterator[Path]:
    """The working tree's files in a directory of their own, with its environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    with tempfile.TemporaryDirectory(prefix="starling-mutants-") as made:
        tree = Path(made)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, tree / name)
        (tree / ".venv").symlink_to(ROOT / ".venv")
        yield tree


if __name__ == "__main__":
    sys.exit(main())
