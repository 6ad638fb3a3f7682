"""Writes `jars.lock`: every Java archive that the engines need, by coordinates, SHA-256 and size.

    python -m stack.lock_jars

needs `mvn` on the PATH. Only whoever raises an engine's version runs it: starting the mesh needs
the lock alone.
"""

import hashlib
import re
import subprocess
import tempfile
from pathlib import Path

from stack.jars import LOCK_FILE

ENGINES = {
    "cassandra": (
        "org.apache.cassandra:cassandra-all:jar:5.0.6",
        "com.github.jbellis:jamm:jar:0.4.0",
    ),
    "zipkin": ("io.zipkin:zipkin-server:jar:exec:3.5.1",),
}

# Netty falls back to Java's own transport where its native one is missing, so systems that the
# other wheels do not support either are left out.
UNSUPPORTED_NATIVES = ("windows", "riscv64")

HEADER = """\
# Made by `python -m stack.lock_jars`; do not edit.
# engine group:artifact:jar[:classifier]:version sha256 size_bytes
"""


def _pom(coordinates: tuple[str, ...]) -> str:
    dependencies = []
    for coordinate in coordinates:
        group, artifact, _, *classifier, version = coordinate.split(":")
        qualifier = f"<classifier>{classifier[0]}</classifier>" if classifier else ""
        # An executable jar holds its dependencies: nothing that its POM names is needed beside it.
        alone = (
            "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
            if classifier
            else ""
        )
        dependencies.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version>{qualifier}{alone}</dependency>"
        )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>starling</groupId><artifactId>engines</artifactId><version>1</version>"
        f"<dependencies>{''.join(dependencies)}</dependencies></project>"
    )


def _resolve(coordinates: tuple[str, ...], directory: Path) -> list[tuple[str, Path]]:
    """The runtime closure of `coordinates`, as (coordinate, downloaded file)."""
    (directory / "pom.xml").write_text(_pom(coordinates))
    listing = directory / "list.txt"
    subprocess.run(
        [
            "mvn",
            "--quiet",
            "--batch-mode",
            "dependency:list",
            "-DincludeScope=runtime",
            "-DoutputAbsoluteArtifactFilename=true",
            f"-DoutputFile={listing}",
        ],
        cwd=directory,
        check=True,
    )
    found = []
    for line in listing.read_text().splitlines():
        match = re.match(r"\s+(\S+):(?:compile|runtime):(/\S+\.jar)", line)
        if match and not any(native in match[1] for native in UNSUPPORTED_NATIVES):
            found.append((match[1], Path(match[2])))
    return sorted(found)


def main() -> None:
    lines = []
    for engine, coordinates in ENGINES.items():
        with tempfile.TemporaryDirectory() as directory:
            for coordinate, jar in _resolve(coordinates, Path(directory)):
                content = jar.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                lines.append(f"{engine} {coordinate} {digest} {len(content)}\n")
    LOCK_FILE.write_text(HEADER + "".join(lines))
    print(f"{LOCK_FILE}: {len(lines)} jars")


if __name__ == "__main__":
    main()
