"""Processes killed, stopped and emptied under load: nothing answered is lost, nothing hangs.

Each test posts and reads while something fails, and then looks whether every feed has each tweet that was
answered, once, and each that was not answered everywhere or nowhere.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from .mesh import Mesh, eventually
from .rest import CALL_TIMEOUT_S, Person, Rest, refused

DEADLINE_S = 12.0
"""The edge ends a call after 10 s: what takes longer on these two cores hangs."""

REPAIRED_WITHIN_S = 30.0
OUTAGES = (502, 503, 504)


@dataclass
class Traffic:
    """Authors who post and followers who read, each in a thread, until the block ends."""

    authors: list[Person]
    followers: list[Person]
    answered: dict[str, list[str]] = field(default_factory=dict)
    """By author, the ids of their answered tweets."""
    refusals: list[str] = field(default_factory=list)
    read_refusals: list[str] = field(default_factory=list)
    pause_s: float = 0.03
    _over: bool = False
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8))
    _futures: list[Future[None]] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        self._over = False
        for author in self.authors:
            self._futures.append(self._pool.submit(self._repeat, self._post, author))
        for follower in self.followers:
            self._futures.append(self._pool.submit(self._repeat, self._read, follower))
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for future in self._futures:
            future.result()
        self._futures.clear()

    @property
    def posted(self) -> int:
        """How many posts were answered with success."""
        return sum(len(ids) for ids in self.answered.values())

    def goes_on(self, more: int = 10, within_s: float = 40.0) -> None:
        """Wait until more posts succeed."""
        wanted = self.posted + more
        eventually(lambda: self.posted >= wanted, within_s, f"{more} more posts")

    def _repeat(self, call: Callable[[Person], None], person: Person) -> None:
        while not self._over:
            call(person)
            time.sleep(self.pause_s)

    def _post(self, author: Person) -> None:
        body = {"content": f"fault {secrets.token_hex(6)}"}
        answer = self._timed(lambda: author.raw("POST", "/v1/tweets", json=body), self.refusals)
        if answer is not None:
            self.answered.setdefault(author.user_id, []).append(answer.json()["tweet_id"])

    def _read(self, follower: Person) -> None:
        self._timed(lambda: follower.raw("GET", "/v1/timeline/home"), self.read_refusals)

    @staticmethod
    def _timed(call: Callable[[], httpx.Response], refusals: list[str]) -> httpx.Response | None:
        started = time.monotonic()
        try:
            answer = call()
        except httpx.TimeoutException as error:
            raise AssertionError(f"no answer in {CALL_TIMEOUT_S} s") from error
        except httpx.TransportError as error:  # the connection broke: no answer
            refusals.append(repr(error))
            return None
        took_s = time.monotonic() - started
        assert took_s < DEADLINE_S, f"{answer.status_code} after {took_s:.1f} s"
        if answer.status_code == 200:
            return answer
        assert answer.status_code in OUTAGES, answer.text
        refused(answer, answer.status_code)
        refusals.append(answer.text)
        return None

    def check(self) -> None:
        """Every feed has every answered tweet, once, and agrees with its authors' own timelines."""

        def whole() -> bool:
            everywhere: set[str] = set()
            for author in self.authors:
                own = [tweet["tweet_id"] for tweet in author.timeline_of(author)]
                assert len(own) == len(set(own)), "twice in a user timeline"
                missing = set(self.answered.get(author.user_id, [])) - set(own)
                assert not missing, f"answered, and not in the user timeline: {missing}"
                home = author.home_ids()
                assert home == own, f"own home timeline: {set(home) ^ set(own)}"
                assert author.user()["tweets_count"] == len(own)
                everywhere |= set(own)
            wanted = sorted(everywhere, key=int, reverse=True)
            for follower in self.followers:
                home = follower.home_ids()
                assert len(home) == len(set(home)), "twice in a feed"
                assert home == wanted, f"follower's feed: {set(home) ^ everywhere}"
            return True

        eventually(whole, REPAIRED_WITHIN_S, "every answered tweet in every feed", every_s=0.5)


@pytest.fixture(scope="module")
def rest(mesh: Mesh) -> Iterator[Rest]:
    """With connections of its own: those of other modules may have died with the edge."""
    opened = Rest(mesh.api, mesh.ca)
    yield opened
    opened.close()


@pytest.fixture
def traffic(rest: Rest) -> Traffic:
    """Two authors, three followers of both."""
    people: list[Person] = []
    people.append(rest.register())
    people += [rest.register() for _ in range(4)]
    authors, followers = people[:2], people[2:]
    for follower in followers:
        for author in authors:
            follower.follow(author)
    return Traffic(authors, followers)


SERVICES = ("gateway", "graph_svc", "tweet_svc", "timeline_svc", "fanout")


def pids(mesh: Mesh, *names: str) -> dict[str, int]:
    return {name: mesh.pid(name) for name in names}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["tweet_svc", "fanout", "timeline_svc", "graph_svc"])
def test_a_service_is_killed(mesh: Mesh, traffic: Traffic, name: str) -> None:
    with traffic:
        traffic.goes_on()
        pid = mesh.kill(name)
        mesh.wait_restarted(name, pid)
        traffic.goes_on()
    traffic.check()


@pytest.mark.timeout(120)
def test_the_gateway_is_killed_and_others_do_not_mind(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        pid = mesh.kill("gateway")
        mesh.wait_restarted("gateway", pid)
        traffic.goes_on(3)
    assert not traffic.refusals
    assert not traffic.read_refusals
    traffic.check()


@pytest.mark.timeout(180)
def test_every_sidecar_is_killed(mesh: Mesh, traffic: Traffic) -> None:
    before = pids(mesh, *SERVICES)
    with traffic:
        for service in ("tweet_svc", "timeline_svc", "graph_svc", "fanout"):
            traffic.goes_on(3)
            pid = mesh.kill(f"{service}.envoy")
            mesh.wait_restarted(f"{service}.envoy", pid)
        traffic.goes_on(3)
    assert pids(mesh, *SERVICES) == before, "services were started again"
    traffic.check()


@pytest.mark.timeout(120)
def test_the_edge_is_killed(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        pid = mesh.kill("edge")
        mesh.wait_restarted("edge", pid)
        traffic.goes_on(3)
    traffic.check()


@pytest.mark.timeout(120)
def test_redis_forgets_and_dies(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        for _ in range(3):
            mesh.flush_redis()
            traffic.goes_on(3)
        pid = mesh.kill("redis")
        mesh.wait_restarted("redis", pid)
        traffic.goes_on(10)
    assert not traffic.refusals, "losing Redis costs latency, not errors"
    assert not traffic.read_refusals, "losing Redis costs latency, not errors"
    traffic.check()


@pytest.mark.timeout(180)
def test_redis_is_full_and_forgets_as_it_goes(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        evicted = mesh.redis_figure("evicted_keys")
        with mesh.redis_memory(-20_000, "allkeys-lru"):
            eventually(lambda: mesh.redis_figure("evicted_keys") > evicted + 20, 60, "evictions")
            traffic.goes_on(10)
    assert not traffic.refusals, "a full Redis costs latency, not errors"
    assert not traffic.read_refusals, "a full Redis costs latency, not errors"
    traffic.check()


@pytest.mark.timeout(180)
def test_redis_is_full_and_takes_nothing(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        with mesh.redis_memory(-20_000, "noeviction"):
            traffic.goes_on(10)
        traffic.goes_on(3)
    assert not traffic.refusals, "a full Redis costs latency, not errors"
    assert not traffic.read_refusals, "a full Redis costs latency, not errors"
    traffic.check()


@pytest.mark.timeout(120)
def test_redis_hangs(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        with mesh.stopped("redis"):
            traffic.goes_on(10)
        traffic.goes_on(3)
    assert not traffic.refusals, "losing Redis costs latency, not errors"
    assert not traffic.read_refusals, "losing Redis costs latency, not errors"
    traffic.check()


@pytest.mark.timeout(120)
def test_nats_hangs(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        with mesh.stopped("nats"):
            traffic.goes_on(10)
        traffic.goes_on(3)
    assert not traffic.refusals, "a post needs no events to be accepted"
    traffic.check()


@pytest.mark.timeout(120)
def test_nats_is_killed(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        pid = mesh.kill("nats")
        traffic.goes_on(3)
        mesh.wait_restarted("nats", pid)
        traffic.goes_on(3)
    assert not traffic.refusals, "a post needs no events to be accepted"
    traffic.check()


@pytest.mark.timeout(180)
def test_cassandra_hangs(mesh: Mesh, traffic: Traffic) -> None:
    before = pids(mesh, *SERVICES)
    with traffic:
        traffic.goes_on(3)
        with mesh.stopped("cassandra"):
            refusals = len(traffic.refusals)
            eventually(lambda: len(traffic.refusals) >= refusals + 2, 2 * DEADLINE_S, "a refusal")
        traffic.goes_on(3)
    assert pids(mesh, *SERVICES) == before, "services were started again"
    traffic.check()


@pytest.mark.timeout(180)
def test_cassandra_is_killed(mesh: Mesh, traffic: Traffic, rest: Rest) -> None:
    before = pids(mesh, *SERVICES)
    with traffic:
        traffic.goes_on(3)
        pid = mesh.kill("cassandra")
        refusals = len(traffic.refusals)
        eventually(lambda: len(traffic.refusals) >= refusals + 2, 2 * DEADLINE_S, "a refusal")
        answer = traffic.authors[0].raw("GET", f"/v1/users/{traffic.authors[1].user_id}")
        if answer.status_code != 200:
            refused(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1
        mesh.wait_restarted("cassandra", pid, within_s=60)
        traffic.goes_on(3)
    assert pids(mesh, *SERVICES) == before, "services were started again"
    traffic.check()
    eventually(rest.register, 20, "a registration: the gateway has found Cassandra again")


@pytest.mark.timeout(180)
def test_all_services_are_killed_at_once(mesh: Mesh, traffic: Traffic) -> None:
    with traffic:
        traffic.goes_on(3)
        killed = {name: mesh.kill(name) for name in SERVICES}
        for name, pid in killed.items():
            mesh.wait_restarted(name, pid, within_s=60)
        traffic.goes_on(3)
    traffic.check()


@pytest.mark.timeout(180)
def test_jetstream_is_lost_altogether(mesh: Mesh, traffic: Traffic) -> None:
    """What was accepted and not yet delivered is told again from Cassandra."""
    author, fan = traffic.authors[0], traffic.followers[0]
    with traffic:
        traffic.goes_on(3)
    traffic.check()
    liked = author.post("liked before the loss")
    fan.like(liked)
    eventually(lambda: author.tweet(liked)["likes_count"] == 1, 20, "the count")
    with mesh.stopped("fanout"):
        with traffic:
            traffic.goes_on(5)
        fan.unlike(liked)
        mesh.lose_streams()
    done = mesh.starling("republish", "--from", "2m")
    assert done.returncode == 0, done.stdout + done.stderr
    traffic.answered.setdefault(author.user_id, []).append(liked)
    traffic.check()
    eventually(lambda: author.tweet(liked)["likes_count"] == 0, 20, "the count")
    # And the mesh goes on with its new streams.
    with traffic:
        traffic.goes_on(3)
    traffic.check()
