"""Applies mutants to a copy of the tree, and sees whether the tests named fail."""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from tests.engines import find_or_start
from tests.mutants.catalogue import MUTANTS, PAGE, page
from tests.mutants.mutant import ROOT, Mutant

MOST_S = 600
PASSED, FAILED = 0, 1

Outcome = tuple[int, str, float]
"""pytest's exit status, what it said last, and the seconds it took."""
T = TypeVar("T")
_SECONDS = itertools.count(1_000_000_000)


def main() -> int:
    """0 when every mutant asked for was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run; all without")
    parser.add_argument("--list", action="store_true", help="show what there is")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--jobs", type=int, default=2, help="copies of the tree that work at once")
    chosen = parser.parse_args()
    if chosen.list:
        print(*(f"{mutant.name:40} {mutant.matters}" for mutant in MUTANTS), sep="\n")
        return 0
    if chosen.page:
        PAGE.write_text(page())
        return 0
    # So that the copies are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    known = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := set(chosen.names) - set(known):
        parser.error(f"no mutant is called {', '.join(sorted(unknown))}: --list shows them")
    return _hunt([known[name] for name in chosen.names] or MUTANTS, chosen.jobs)


def _hunt(mutants: Sequence[Mutant], jobs: int) -> int:
    engines = find_or_start()
    environment = {
        **os.environ,
        "CASSANDRA_CONTACT_POINTS": engines.cassandra,
        "NATS_URL": engines.nats,
        "REDIS_URL": engines.redis,
    }
    try:
        with ThreadPoolExecutor(jobs) as pool, ExitStack() as stack:
            copies = [Copy(stack.enter_context(_tree()), environment) for _ in range(jobs)]
            free: SimpleQueue[Copy] = SimpleQueue()
            for copy in copies:
                free.put(copy)

            def in_a_copy(work: Callable[[Copy], T]) -> T:
                copy = free.get()
                try:
                    return work(copy)
                finally:
                    free.put(copy)

            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            if not _sound(mutants, lambda works: list(pool.map(in_a_copy, works))):
                return 1
            works = [partial(Copy.catches, mutant=mutant) for mutant in mutants]
            verdicts = zip(mutants, pool.map(in_a_copy, works), strict=True)
            return _report([mutant for mutant, was_caught in verdicts if not was_caught])
    finally:
        engines.stop()


def _sound(mutants: Sequence[Mutant], run: Callable[[list[Work]], list[Outcome]]) -> bool:
    """Whether all tests that mutants name pass without one."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for test in dict.fromkeys(test for mutant in mutants for test in mutant.caught_by):
        files[test.partition("::")[0]].append(test)
    number = sum(map(len, files.values()))
    print(f"Without a mutant: {number} tests ", end="", flush=True)
    failed = [
        told
        for outcome, told, _ in run([partial(Copy.run, tests=tests) for tests in files.values()])
        if outcome != PASSED
    ]
    print("do not pass, so they would prove nothing:" if failed else "pass")
    print(*failed, sep="\n\n", end="", flush=True)
    return not failed


def _report(survivors: Sequence[Mutant]) -> int:
    if survivors:
        print(f"{len(survivors)} survived: {', '.join(mutant.name for mutant in survivors)}")
        return 1
    print("All were caught.")
    return 0


@dataclass(frozen=True)
class Copy:
    """A copy of the tree, in which one mutant at a time lives."""

    tree: Path
    environment: Mapping[str, str]

    def catches(self, mutant: Mutant) -> bool:
        """Whether every test that the mutant names fails; tells what happened."""
        file = self.tree / mutant.path
        sound, sound_since = file.read_text(), file.stat().st_mtime
        file.write_text(mutant.applied_to(sound))
        # Of its own second: by that and the size Python tells whether what it compiled before still holds.
        since = next(_SECONDS)
        os.utime(file, (since, since))
        try:
            for test in mutant.caught_by:
                outcome, told, took_s = self.run([test])
                name = test.rpartition("::")[2]
                if outcome == PASSED:
                    verdict = f"SURVIVED {name}"
                elif outcome == FAILED:
                    verdict = f"caught by {name}"
                else:
                    verdict = f"is no bug but a ruin: pytest ended with {outcome}\n{told}"
                print(f"{mutant.name:40} {verdict} ({took_s:.0f} s)", flush=True)
                if outcome != FAILED:
                    return False
            return True
        finally:
            file.write_text(sound)
            os.utime(file, (sound_since, sound_since))

    def run(self, tests: Sequence[str]) -> Outcome:
        """These tests, up to the first that fails."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        started = time.monotonic()
        try:
            done = subprocess.run(
                [*command, "--tb=short", *(f"tests/{test}" for test in tests)],
                cwd=self.tree,
                env={
                    **self.environment,
                    "PYTHONPATH": f"{self.tree}{os.pathsep}{self.tree / 'gen'}",
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=MOST_S,
            )
        except subprocess.TimeoutExpired:
            return FAILED, f"no end after {MOST_S} s", MOST_S
        told = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        return done.returncode, told, time.monotonic() - started


Work = Callable[[Copy], Outcome]


@contextmanager
def _tree() -> Iterator[Path]:
    """The working tree's files in a directory of their own, with its environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    with tempfile.TemporaryDirectory(
        prefix="starling-mutants-", ignore_cleanup_errors=True
    ) as made:
        tree = Path(made)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, tree / name)
        (tree / ".venv").symlink_to(ROOT / ".venv")
        yield tree


if __name__ == "__main__":
    sys.exit(main())
