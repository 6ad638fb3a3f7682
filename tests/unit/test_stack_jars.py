"""The cache of jars: what is in it is what the lock says, whatever happened to a download."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import jars
from stack.errors import StackError
from stack.jars import Jar, JarCache

CONTENT = bytes(range(256)) * 4000
JAR = Jar("demo", "org.demo:demo:jar:1.0", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class FileSource:
    """A registry with one file; it can break off, alter bytes, or be unable to seek."""

    def __init__(self, content: bytes = CONTENT, *, seeks: bool = True) -> None:
        self.content = content
        self.seeks = seeks
        self.breaks_after: list[int] = []
        """For each read to come: after how many bytes the connection is lost."""
        self.offsets: list[int] = []

    def read(self, jar: Jar, offset_bytes: int) -> Iterator[bytes]:
        self.offsets.append(offset_bytes)
        start = offset_bytes if self.seeks else 0
        if offset_bytes and not self.seeks:
            yield b""
        wanted = self.content[start:]
        if self.breaks_after:
            yield wanted[: self.breaks_after.pop(0)]
            raise ConnectionError("the connection was lost")
        for first in range(0, len(wanted), 100_000):
            yield wanted[first : first + 100_000]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "BACK_OFF_S", 0.0)


def test_fetches_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    source = FileSource()
    cache = JarCache(tmp_path / "jars", source)
    (path,) = cache.fetch([JAR])
    assert path.read_bytes() == CONTENT
    assert cache.missing([JAR]) == []
    cache.fetch([JAR])
    assert source.offsets == [0]
    assert [file.name for file in path.parent.iterdir()] == ["demo-1.0.jar"]


def test_a_download_that_breaks_off_is_continued(tmp_path: Path) -> None:
    source = FileSource()
    source.breaks_after = [300_000, 200_000]
    arrived = 0

    def progress(count: int) -> None:
        nonlocal arrived
        arrived += count

    (path,) = JarCache(tmp_path, source).fetch([JAR], progress)
    assert path.read_bytes() == CONTENT
    assert source.offsets == [0, 300_000, 500_000]
    assert arrived == len(CONTENT)


def test_what_a_killed_run_left_is_continued(tmp_path: Path) -> None:
    source = FileSource()
    (tmp_path / "demo-1.0.part").write_bytes(CONTENT[:700_000])
    (path,) = JarCache(tmp_path, source).fetch([JAR])
    assert path.read_bytes() == CONTENT
    assert source.offsets == [700_000]


def test_a_source_that_cannot_seek_sends_it_all_again(tmp_path: Path) -> None:
    source = FileSource(seeks=False)
    (tmp_path / "demo-1.0.part").write_bytes(CONTENT[:700_000])
    (path,) = JarCache(tmp_path, source).fetch([JAR])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 10, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_part_with_wrong_bytes_is_fetched_again(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "demo-1.0.part").write_bytes(left)
    (path,) = JarCache(tmp_path, FileSource()).fetch([JAR])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [CONTENT[:-1], b"x" * len(CONTENT), b""])
def test_a_damaged_jar_is_fetched_again(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "demo-1.0.jar").write_bytes(damage)
    cache = JarCache(tmp_path, FileSource())
    assert cache.missing([JAR]) == [JAR]
    (path,) = cache.fetch([JAR])
    assert path.read_bytes() == CONTENT


def test_another_file_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    altered = FileSource(b"y" + CONTENT[1:])
    with pytest.raises(StackError, match="SHA-256"):
        JarCache(tmp_path, altered).fetch([JAR])
    assert not (tmp_path / "demo-1.0.jar").exists()


def test_a_source_out_of_reach_is_said_so_and_keeps_what_arrived(tmp_path: Path) -> None:
    source = FileSource()
    source.breaks_after = [1000] * jars.ATTEMPTS
    with pytest.raises(StackError, match="try again"):
        JarCache(tmp_path, source).fetch([JAR])
    assert (tmp_path / "demo-1.0.part").stat().st_size == 1000 * jars.ATTEMPTS


def test_a_full_disk_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StackError, match=r"(?s)No space left.*STARLING_CACHE"):
        JarCache(tmp_path, FileSource()).fetch([JAR])


def test_the_lock_names_each_jar_with_digest_and_size() -> None:
    locked = jars.locked("cassandra")
    assert any(jar.coordinate == "org.apache.cassandra:cassandra-all:jar:5.0.6" for jar in locked)
    assert any(jar.filename == "jamm-0.4.0.jar" for jar in locked)
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in locked)
    assert len({jar.filename for jar in locked}) == len(locked)
    (zipkin,) = jars.locked("zipkin")
    assert zipkin.filename == "zipkin-server-3.5.1-exec.jar"
