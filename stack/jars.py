"""Java archives by coordinates, fetched once and checked against `jars.lock`.

They are kept outside the build tree: in `~/.cache/starling/jars`, which `XDG_CACHE_HOME` and
`STARLING_CACHE` move. A file stands under its final name only after its SHA-256 was checked; what an
interrupted download left stands beside it as `.part` and is continued. Where the archives come from
is Maven Artifact's business: no registry is named here.
"""

import errno
import fcntl
import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stack.errors import StackError

LOCK_FILE = Path(__file__).with_name("jars.lock")
PARALLEL_DOWNLOADS = 8
ATTEMPTS = 4
BACK_OFF_S = 0.5
"""Doubled with each attempt."""

Progress = Callable[[int], None]
"""Told the bytes that arrived since it was last told; negative when a download starts anew."""


@dataclass(frozen=True)
class Jar:
    """One line of the lock."""

    engine: str
    coordinate: str
    sha256: str
    size_bytes: int

    @property
    def classifier(self) -> str:
        parts = self.coordinate.split(":")
        return parts[3] if len(parts) == 5 else ""

    @property
    def filename(self) -> str:
        _, artifact, extension, *classifier, version = self.coordinate.split(":")
        return "-".join([artifact, version, *classifier]) + f".{extension}"


class Source(Protocol):
    """Where a jar's bytes come from."""

    def read(self, jar: Jar, offset_bytes: int) -> Iterator[bytes]:
        """The bytes from `offset_bytes` on; or, after an empty chunk, from the start.

        Raises ConnectionError when the source is out of reach.
        """


def cache_dir() -> Path:
    """Where jars are kept; not created here."""
    if chosen := os.environ.get("STARLING_CACHE"):
        return Path(chosen) / "jars"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "starling" / "jars"


def locked(engine: str, lock_file: Path = LOCK_FILE) -> list[Jar]:
    """The jars that `engine` needs on this machine, in the lock's order."""
    system = {"Linux": "linux", "Darwin": "osx"}.get(platform.system(), platform.system())
    machine = {"amd64": "x86_64", "arm64": "aarch_64", "aarch64": "aarch_64"}
    native = f"{system}-{machine.get(platform.machine(), platform.machine())}"
    jars = []
    for line in lock_file.read_text().splitlines():
        if not line.startswith(f"{engine} "):
            continue
        name, coordinate, sha256, size = line.split()
        jar = Jar(name, coordinate, sha256, int(size))
        if jar.classifier.startswith(("linux-", "osx-")) and jar.classifier != native:
            continue
        jars.append(jar)
    return jars


class JarCache:
    """Fetches what is missing. If several processes ask for a jar at once, one of them fetches it."""

    def __init__(self, directory: Path | None = None, source: Source | None = None) -> None:
        self.directory = directory or cache_dir()
        self._source = source

    def path(self, jar: Jar) -> Path:
        return self.directory / jar.filename

    def missing(self, jars: list[Jar]) -> list[Jar]:
        """Those that are not there as the lock has them. (Hashing all 200 MB takes 0.2 s.)"""
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
            return [
                jar
                for jar, there in zip(jars, pool.map(self._complete, jars), strict=True)
                if not there
            ]

    def fetch(self, jars: list[Jar], progress: Progress = lambda _: None) -> list[Path]:
        """Makes sure that every jar is there; the paths in the order of `jars`.

        Raises StackError when one cannot be had.
        """
        wanted = self.missing(jars)
        if wanted:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._unwritable(error) from error
            source = self._source or _maven()
            with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
                downloads = [pool.submit(self._fetch_one, jar, source, progress) for jar in wanted]
                try:
                    for download in downloads:
                        download.result()
                except BaseException:
                    for download in downloads:
                        download.cancel()
                    raise
        return [self.path(jar) for jar in jars]

    def _complete(self, jar: Jar) -> bool:
        try:
            with self.path(jar).open("rb") as file:
                size_bytes = os.fstat(file.fileno()).st_size
                return size_bytes == jar.size_bytes and _sha256(file.fileno()) == jar.sha256
        except OSError:
            return False

    def _fetch_one(self, jar: Jar, source: Source, progress: Progress) -> None:
        part = self.path(jar).with_suffix(".part")
        try:
            with _locked_open(part) as file:
                if self._complete(jar):  # another process was faster
                    progress(jar.size_bytes)
                    return
                self._download(jar, source, file, progress)
                os.replace(part, self.path(jar))
        except ConnectionError as error:
            raise StackError(
                f"{jar.coordinate} could not be fetched: {error}\n"
                "Check the network and try again: what arrived so far is kept."
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _download(self, jar: Jar, source: Source, part: int, progress: Progress) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            received = os.fstat(part).st_size
            if received > jar.size_bytes:
                os.ftruncate(part, 0)
                received = 0
            progress(received)
            try:
                received = self._append(jar, source, part, received, progress)
            except ConnectionError:
                if attempt == ATTEMPTS:
                    raise
                progress(-os.fstat(part).st_size)
                time.sleep(BACK_OFF_S * 2**attempt)
                continue
            if received == jar.size_bytes and _sha256(part) == jar.sha256:
                os.fsync(part)
                return
            progress(-received)
            if (
                received >= jar.size_bytes
            ):  # the right length and the wrong bytes: nothing of it can be kept
                os.ftruncate(part, 0)
        raise StackError(
            f"{jar.coordinate} arrived {ATTEMPTS} times unlike stack/jars.lock says (SHA-256).\n"
            "Something between here and the registry alters it: the mesh does not start with it."
        )

    def _append(
        self, jar: Jar, source: Source, part: int, received: int, progress: Progress
    ) -> int:
        if received == jar.size_bytes:
            return received
        for chunk in source.read(jar, received):
            if not chunk and received:
                os.ftruncate(part, 0)
                progress(-received)
                received = 0
            os.pwrite(part, chunk, received)
            received += len(chunk)
            progress(len(chunk))
        return received

    def _unwritable(self, error: OSError) -> StackError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StackError(
                f"No space left for the engines' jars in {self.directory} (they need 250 MB).\n"
                "Free some, or set STARLING_CACHE to a directory on another disk, and try again."
            )
        return StackError(
            f"The engines' jars cannot be written to {self.directory}: {error}.\n"
            "Set STARLING_CACHE to a directory that can be written to, and try again."
        )


def _maven() -> Source:
    # Imported when something is missing only: it would cost the supervisor 20 MB.
    from stack.maven import MavenSource

    return MavenSource()


@contextmanager
def _locked_open(path: Path) -> Iterator[int]:
    """Opens `path` for reading and writing, alone: waits while another process or thread has it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever had it may have renamed it meanwhile: then this is the finished jar, not a
            # part.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                yield file
                return
        finally:
            os.close(file)


def _sha256(file: int) -> str:
    with open(os.dup(file), "rb") as content:
        content.seek(0)
        return hashlib.file_digest(content, "sha256").hexdigest()
