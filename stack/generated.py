"""What is generated from the protos and checked in: `python -m stack.generated write|check`.

`gen/` (messages and stubs) and `envoy/descriptor.binpb` (for Envoy's transcoder). `check` generates
them anew and fails, with the names of the files, where they differ from what is there.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from stack.run_dir import CHECKOUT

PACKAGES = ("starling", "buf")
"""What stands in `gen/`."""
DESCRIPTOR = Path("envoy", "descriptor.binpb")


def generate(root: Path) -> None:
    """Generates everything below `root`, as it stands in the checkout."""
    (root / DESCRIPTOR).parent.mkdir(parents=True)
    _run("buf", "generate", "--output", str(root))
    # With the details of errors in it: without them Envoy answers errors with an empty body.
    _run(
        "buf", "build", "--as-file-descriptor-set", "--exclude-source-info",
        "--output", str(root / DESCRIPTOR),
    )  # fmt: skip

    for stub in (root / "gen").rglob("*_pb2_grpc.pyi"):
        if not stub.with_suffix(".py").exists():  # its file declares no service
            stub.unlink()


def _run(*command: str) -> None:
    """The plugins tell every file they write: what they say is shown only if they fail."""
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")


def _files(root: Path) -> dict[Path, bytes]:
    found = [root / DESCRIPTOR]
    for package in PACKAGES:
        found += [
            path for path in (root / "gen" / package).rglob("*") if path.suffix in (".py", ".pyi")
        ]
    return {path.relative_to(root): path.read_bytes() for path in found if path.exists()}


def write(root: Path) -> None:
    """Takes what was generated below `root` into the checkout, and removes what no longer is."""
    new = _files(root)
    for path in _files(CHECKOUT).keys() - new.keys():
        (CHECKOUT / path).unlink()
    for path in new:
        (CHECKOUT / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, CHECKOUT / path)


def stale(root: Path) -> list[str]:
    """The files of the checkout that differ from those generated below `root`."""
    new, old = _files(root), _files(CHECKOUT)
    return sorted(str(path) for path in new.keys() | old.keys() if new.get(path) != old.get(path))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        generate(root)
        if sys.argv[1:] == ["write"]:
            write(root)
        elif differing := stale(root):
            sys.exit("Not as generated (make gen):\n  " + "\n  ".join(differing))


if __name__ == "__main__":
    main()
