"""Home timelines over the public REST API, to their end, no faster than the edge lets one address."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import orjson

from stack.demo.oracle import Json
from stack.errors import StackError
from stack.tls import client_context

PAGE = 50
MOST_PAGES = 1000
READ_AT_ONCE = 12
TIMEOUT_S = 10.0
PATIENCE_S = 60.0
"""How long a request is made again that the edge refuses for being too much."""
SHARE_OF_LIMIT = 0.95


@dataclass(frozen=True)
class Read:
    """A home timeline as it was read; `faults` are what was wrong with its pages themselves."""

    tweets: list[Json]
    pages: int
    faults: list[str]


class Rest:
    """The API at `api`, trusted by `ca`; `rps` is what the edge allows an address."""

    def __init__(self, api: str, ca: Path, rps: int) -> None:
        self._client = httpx.AsyncClient(
            base_url=api,
            verify=client_context(ca),
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=READ_AT_ONCE),
        )
        self._interval_s = 1 / (rps * SHARE_OF_LIMIT)
        self._next_s = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def home_timeline(self, token: str) -> Read:
        """The whole of the token's owner's. Raises StackError for an answer that is not a page."""
        tweets: list[Json] = []
        faults: list[str] = []
        cursor = ""
        for number in range(1, MOST_PAGES + 1):
            page = await self._get("/v1/timeline/home", token, {"limit": PAGE, "cursor": cursor})
            tweets += page["tweets"]
            cursor = page["next_cursor"]
            if cursor and len(page["tweets"]) != PAGE:
                faults.append(f"page {number} has {len(page['tweets'])} tweets, and not {PAGE}")
            if number > 1 and not page["tweets"]:
                faults.append(f"page {number} is empty: its cursor led to nothing")
            if not cursor:
                return Read(tweets, number, faults)
        faults.append(f"does not end within {MOST_PAGES} pages")
        return Read(tweets, MOST_PAGES, faults)

    async def _get(self, path: str, token: str, query: dict[str, str | int]) -> Json:
        given = {name: value for name, value in query.items() if value != ""}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            await self._turn()
            try:
                response = await self._client.get(
                    path, params=given, headers={"Authorization": f"Bearer {token}"}
                )
            except httpx.HTTPError as error:
                raise StackError(f"GET {path} got no answer: {error!r}") from error
            limited = response.status_code == httpx.codes.TOO_MANY_REQUESTS
            if limited and time.monotonic() < deadline:
                await asyncio.sleep(float(response.headers.get("retry-after", "1")))
                continue
            if response.status_code != httpx.codes.OK:
                raise StackError(f"GET {path} answered {response.status_code}: {response.text}")
            answer: Json = orjson.loads(response.content)
            return answer

    async def _turn(self) -> None:
        """Waits for this request's place in an even stream of them."""
        now = time.monotonic()
        at = max(now, self._next_s)
        self._next_s = at + self._interval_s
        await asyncio.sleep(at - now)
