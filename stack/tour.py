"""`starling tour`: the main job over REST, each request with the answer that really came."""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.json import JSON
from rich.markup import escape
from rich.padding import Padding

from stack.errors import StackError
from stack.tls import client_context

TIMEOUT_S = 10.0
FRESH_WITHIN_S = 5.0
"""How long a tweet and a like may take to stand in a follower's home timeline before this fails."""

LONGEST_LINE = 72

Answer = dict[str, Any]


def walk(console: Console, api: str, ca: Path) -> None:
    """Two people register; one follows the other, who posts; the follower likes it and reads it.

    Raises StackError at the first answer that is not as it should be.
    """
    suffix = secrets.token_hex(3)
    with httpx.Client(base_url=api, verify=client_context(ca), timeout=TIMEOUT_S) as client:
        call = _Caller(console, client)
        ada = call("Ada registers", "POST", "/v1/users", body=_person("ada", "Ada", suffix))
        bob = call("Bob registers", "POST", "/v1/users", body=_person("bob", "Bob", suffix))
        ada_id, ada_token = ada["user"]["user_id"], ada["access_token"]
        bob_token = bob["access_token"]
        call("Bob follows Ada", "POST", f"/v1/users/{ada_id}/follow", token=bob_token)
        content = "The Analytical Engine weaves algebraical patterns."
        post = call("Ada posts", "POST", "/v1/tweets", token=ada_token, body={"content": content})
        tweet_id = post["tweet_id"]
        call("Bob likes it", "POST", f"/v1/tweets/{tweet_id}/like", token=bob_token)
        call(
            "Bob reads his home timeline",
            "GET",
            "/v1/timeline/home?limit=5",
            token=bob_token,
            until=lambda answer: any(
                tweet["tweet_id"] == tweet_id and tweet["liked"] and tweet["likes_count"] == 1
                for tweet in answer["tweets"]
            ),
        )


def _person(name: str, display_name: str, suffix: str) -> Answer:
    return {
        "username": f"{name}_{suffix}",
        "display_name": display_name,
        "password": secrets.token_urlsafe(12),
    }


class _Caller:
    """Sends a request, shows it and its answer, and gives the answer back."""

    def __init__(self, console: Console, client: httpx.Client) -> None:
        self._console = console
        self._client = client

    def __call__(
        self,
        title: str,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Answer | None = None,
        until: Any = lambda _: True,
    ) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        deadline = time.monotonic() + FRESH_WITHIN_S
        while True:
            started = time.monotonic()
            try:
                response = self._client.request(method, path, headers=headers, json=body)
                answer: Answer = response.json()
            except (httpx.HTTPError, ValueError) as error:
                raise StackError(f"{title}: {method} {path} got no answer: {error}") from error
            took_ms = (time.monotonic() - started) * 1000
            as_wanted = response.status_code == httpx.codes.OK and until(answer)
            late = time.monotonic() > deadline
            if as_wanted or late or response.status_code != httpx.codes.OK:
                break
            time.sleep(0.05)
        self._show(title, method, path, body, response.status_code, took_ms, answer)
        if not as_wanted:
            raise StackError(
                f"{title}: {method} {path} answered {response.status_code}"
                + (f", and not what was expected within {FRESH_WITHIN_S:.0f} s" if late else "")
                + "\n`starling ps` shows the processes, `starling logs NAME` what they say."
            )
        return answer

    def _show(
        self,
        title: str,
        method: str,
        path: str,
        body: Answer | None,
        status: int,
        took_ms: float,
        answer: Answer,
    ) -> None:
        colour = "green" if status == httpx.codes.OK else "red"
        self._console.print(f"\n[bold]{title}[/]")
        self._console.print(
            f"  [cyan]{method} {escape(path)}[/]" + (f"  {escape(_brief(body))}" if body else ""),
            highlight=False,
            soft_wrap=True,
        )
        self._console.print(f"  [{colour}]{status}[/] [dim]{took_ms:.0f} ms[/]", highlight=False)
        self._console.print(Padding(_json(_shortened(answer)), (0, 0, 0, 2), expand=False))


def _json(answer: Answer) -> JSON:
    short = json.dumps(answer)
    return JSON(short, indent=2 if len(short) > LONGEST_LINE else None)


def _brief(body: Answer) -> str:
    shown = {key: "..." if key == "password" else value for key, value in body.items()}
    return json.dumps(shown)


def _shortened(value: Any) -> Any:
    """The same, with tokens cut: they fill the screen and tell nothing."""
    if isinstance(value, dict):
        return {
            key: f"{item[:12]}..." if key.endswith("_token") else _shortened(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return value
