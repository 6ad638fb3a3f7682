"""Maven Artifact as the source of jars: it knows where they are to be had."""

from collections.abc import Iterator

import requests
from maven_artifact import Artifact, Downloader

from stack.jars import Jar

CHUNK_BYTES = 1 << 18
TIMEOUT_S = (10, 30)
"""To connect, and between two chunks."""


class MavenSource:
    """Maven Artifact resolves the coordinates. Its Requestor knows no ranges: bytes are read here."""

    def __init__(self) -> None:
        downloader = Downloader()
        self._resolver = downloader.resolver
        self._user_agent = downloader.requestor.user_agent

    def read(self, jar: Jar, offset_bytes: int) -> Iterator[bytes]:
        """See `stack.jars.Source`."""
        url = self._resolver.uri_for_artifact(Artifact.parse(jar.coordinate))
        headers = {"User-Agent": self._user_agent}
        if offset_bytes:
            headers["Range"] = f"bytes={offset_bytes}-"
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
                response.raise_for_status()
                if offset_bytes and response.status_code != requests.codes.partial_content:
                    yield b""
                yield from response.iter_content(CHUNK_BYTES)
        except requests.RequestException as error:
            raise ConnectionError(str(error)) from error
