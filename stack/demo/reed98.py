"""The demo from its beginning to its verdict, and the verdict alone on what an earlier run recorded."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from starling.graph.v1.graph_lookup_service_pb2 import BatchGetUsersRequest
from starling.tweet.v1.tweet_lookup_service_pb2 import ListActivityRequest

from envoy.spec import RateLimits
from meshkit.background import gather_bounded
from meshkit.errors import StarlingError
from stack import state
from stack.demo import checking, graph, plan, show, world
from stack.demo.loading import Loader, Tokens, reactions
from stack.demo.oracle import Oracle
from stack.demo.quiet import Backlog
from stack.demo.reading import READ_AT_ONCE, Rest
from stack.demo.world import Person, World
from stack.errors import StackError
from stack.operator import Operator
from stack.run_dir import RunDir
from stack.state import SupervisorStatus

ACTIVITY_AUTHORS = 50
ACTIVITY_LIMIT = 1000
CLOCK_STEP_MS = 5
"""How far the kernel's clocks of two processes may seem to be apart."""


def reed98(run: RunDir, console: Console, *, people: int | None, seed: int) -> bool:
    """Loads socfb-Reed98, or its `people` best connected, and checks it; whether all was right."""
    friendships = graph.read(graph.REED98)
    if people is not None:
        friendships = graph.best_connected(friendships, people)
    if not friendships:
        raise StackError("Nobody among so few people has a friend: take more.")
    return asyncio.run(_Demo(run, console).load_and_check(friendships, seed))


def verify(run: RunDir, console: Console, recorded: Path | None) -> bool:
    """Checks the people of a recorded world (by default the last) again; whether all was right."""
    file = recorded or world.newest(_directory(run))
    return asyncio.run(_Demo(run, console).check(world.read(file), file))


def _directory(run: RunDir) -> Path:
    return run.root / "demo"


def _running(run: RunDir) -> SupervisorStatus:
    """The running mesh of `run`. Raises StackError if none runs."""
    status = state.read(run)
    if not status or not state.supervisor_pid(run):
        raise StackError("The mesh does not run: `starling up` (or `make up`) starts it.")
    return status


@dataclass
class _Demo:
    run: RunDir
    console: Console

    async def load_and_check(self, friendships: list[graph.Friendship], seed: int) -> bool:
        status, phases = _running(self.run), show.Phases(self.console)
        drawn = plan.draw(graph.followees(friendships), seed)
        made = World(
            name=f"reed98_{secrets.token_hex(3)}",
            seed=seed,
            password=secrets.token_urlsafe(12),
            friendships=friendships,
        )
        file = _directory(self.run) / f"{made.name}.json"
        self.console.print(
            f"[bold]socfb-Reed98[/]: {len(drawn.followees):,} people, {len(friendships):,} friendships"
            f" [dim](seed {seed}; their usernames begin with {made.name})[/]",
            highlight=False,
            soft_wrap=True,
        )
        try:
            async with Operator(self.run) as operator, self._rest(status) as rest:
                await self._load(operator, rest, drawn, made, phases, status)
                world.write(made, file)
                return await self._check(operator, rest, made, file, phases)
        except StarlingError as error:
            raise StackError(f"The mesh answered {error.reason}: {error.message}") from error

    async def check(self, made: World, file: Path) -> bool:
        status, phases = _running(self.run), show.Phases(self.console)
        try:
            async with Operator(self.run) as operator, self._rest(status) as rest:
                return await self._check(operator, rest, made, file, phases)
        except StarlingError as error:
            raise StackError(f"The mesh answered {error.reason}: {error.message}") from error

    def _rest(self, status: SupervisorStatus) -> Rest:
        rps = int(status.settings.get("RATE_LIMIT_IP_RPS") or RateLimits.ip_rps)
        return Rest(status.addresses["api"], self.run.ca, rps)

    async def _load(
        self,
        operator: Operator,
        rest: Rest,
        drawn: plan.Plan,
        made: World,
        phases: show.Phases,
        status: SupervisorStatus,
    ) -> None:
        loader = Loader(operator, drawn, made)
        backlog = await Backlog.open(status)
        try:
            with phases.phase("people register", "accounts", len(drawn.followees)) as done:
                await loader.register(done)
            follows = sum(len(friends) for friends in drawn.followees.values())
            with phases.phase("follow their friends", "follows", follows) as done:
                await loader.follow(done)
            with phases.waiting("until the follows are told", "events") as left:
                await backlog.rest(left)
            # Only a timeline that somebody has open is pushed to; the others are rebuilt when read.
            awake = [p for p in made.people if p.number not in drawn.asleep]
            with phases.phase("open their home timelines", "empty timelines", len(awake)) as done:
                await self._open(rest, awake, done)
            with phases.phase("tweet", "tweets", len(drawn.tweets)) as done:
                await loader.post(done)
            with phases.phase("like, retweet, regret", "changes", reactions(drawn)) as done:
                await loader.react(done)
            with phases.waiting("until the fan-out is quiet", "events") as left:
                await backlog.rest(left)
        finally:
            await backlog.close()

    async def _open(self, rest: Rest, people: Sequence[Person], done: show.Done) -> None:
        async def one(person: Person) -> None:
            if (await rest.home_timeline(person.token)).tweets:
                raise StackError(
                    f"The home timeline of {person.username} is not empty, and yet new."
                )
            done(1)

        await gather_bounded(READ_AT_ONCE, one, people)

    async def _check(
        self, operator: Operator, rest: Rest, made: World, file: Path, phases: show.Phases
    ) -> bool:
        times, differences = await _retweet_times(operator, made)
        oracle = Oracle(made, times)
        differences += await _wrong_profiles(operator, made, oracle)
        tokens = Tokens(operator, made)
        wrong: dict[str, list[str]] = {}
        entries = pages = 0

        with phases.phase("read their home timelines", "timelines", len(made.people)) as done:

            async def one(person: Person) -> None:
                nonlocal entries, pages
                read = await rest.home_timeline(await tokens.of(person))
                found = checking.differences(oracle.home_timeline(person.number), read.tweets)
                if found or read.faults:
                    wrong[person.username] = [*read.faults, *found]
                entries += len(read.tweets)
                pages += read.pages
                done(1)

            await gather_bounded(READ_AT_ONCE, one, made.people)

        for username, found in sorted(wrong.items()):
            differences += [f"The home timeline of {username} {what}" for what in found]
        self.console.print(
            f"  [dim]{len(made.tweets):,} tweets, {len(made.retweets):,} retweets, "
            f"{len(made.likes):,} likes, {made.deliveries:,} deliveries; recorded in {file}[/]",
            highlight=False,
            soft_wrap=True,
        )
        if differences:
            show.failed(self.console, differences, len(wrong))
            return False
        show.passed(
            self.console,
            f"{len(made.people):,} home timelines, {entries:,} entries on {pages:,} pages, "
            "each in its place, none twice, none missing.",
            phases.took_s,
        )
        return True


async def _retweet_times(
    operator: Operator, made: World
) -> tuple[dict[tuple[int, int], int], list[str]]:
    """When the retweets that stand were made, and what is wrong with that.

    The time of a retweet is the mesh's own and no public answer tells it. So it is taken from the
    authors' activity, and must lie between the call's sending and its answer.
    """
    number_of = {person.user_id: person.number for person in made.people}
    found: dict[tuple[int, int], int] = {}
    for start in range(0, len(made.people), ACTIVITY_AUTHORS):
        ids = [person.user_id for person in made.people[start : start + ACTIVITY_AUTHORS]]
        request = ListActivityRequest(author_ids=ids, limit=ACTIVITY_LIMIT)
        for author in (await operator.tweet_lookup.ListActivity(request)).authors:
            for activity in author.activity:
                if activity.author_id != activity.actor_id:
                    found[number_of[author.author_id], activity.tweet_id] = activity.at_ms

    authors = {tweet.tweet_id: tweet.author for tweet in made.tweets}
    deleted = {tweet.tweet_id for tweet in made.tweets if tweet.deleted}
    times: dict[tuple[int, int], int] = {}
    differences = []
    for retweet in made.retweets:
        if retweet.tweet_id in deleted or authors[retweet.tweet_id] == retweet.actor:
            continue
        key = retweet.actor, retweet.tweet_id
        who = f"{made.person[retweet.actor].username}'s retweet of {retweet.tweet_id}"
        at_ms = found.pop(key, None)
        if at_ms is None:
            differences.append(f"{who} is not in their activity")
            continue
        times[key] = at_ms
        earliest, latest = retweet.sent_ms - CLOCK_STEP_MS, retweet.answered_ms + CLOCK_STEP_MS
        if not earliest <= at_ms <= latest:
            differences.append(f"{who} is of {at_ms}, and was made from {earliest} to {latest}")
    differences += [
        f"{made.person[actor].username}'s retweet of {tweet_id} is in their activity, and was undone"
        for actor, tweet_id in found
        if tweet_id not in deleted
    ]
    return times, differences


async def _wrong_profiles(operator: Operator, made: World, oracle: Oracle) -> list[str]:
    """Counts of profiles that do not equal what was done."""
    request = BatchGetUsersRequest(user_ids=[person.user_id for person in made.people])
    answer = await operator.graph.BatchGetUsers(request)
    wrong = []
    for person, result in zip(made.people, answer.results, strict=True):
        for count, expected in oracle.profile(person.number).items():
            got = getattr(result.user, count)
            if got != expected:
                wrong.append(f"{person.username}'s {count} is {got} and not {expected}")
    return wrong
