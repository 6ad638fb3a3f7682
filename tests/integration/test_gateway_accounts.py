"""Accounts against the real graph_svc and Cassandra: registering, signing in, refreshing, signing out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starling.gateway.v1 import account_service_pb2 as pb
from starling.gateway.v1.account_service_pb2_grpc import (
    AccountServiceStub,
    DiscoveryServiceStub,
    add_AccountServiceServicer_to_server,
    add_DiscoveryServiceServicer_to_server,
)
from starling.graph.v1.graph_lookup_service_pb2 import CreateUserRequest, CreateUserResponse
from starling.graph.v1.graph_lookup_service_pb2_grpc import GraphLookupServiceStub

from gateway.access_tokens import AccessTokens, SigningKey
from gateway.account_store import AccountStore
from gateway.discovery import Discovery
from gateway.documentation import Documentation
from gateway.passwords import Passwords
from gateway.refresh_tokens import RefreshTokens
from gateway.service import AccountService
from gateway.users import Users
from meshkit.background import cancel_all
from meshkit.channel import MeshChannel
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Lwt, Statement
from meshkit.errors import (
    AlreadyExists,
    InvalidArgument,
    OutcomeUnknown,
    StarlingError,
    Unauthenticated,
    Unavailable,
)
from meshkit.events import EventBus
from meshkit.server import MeshServer
from meshkit.snowflake import SnowflakeGenerator
from meshkit.worker_lease import WorkerLease
from tests.conftest import until
from tests.integration.graph_rig import Instance, calling_as, graph_instance

PASSWORD = "a fine password"


@dataclass
class Gateway:
    """A gateway in front of a graph_svc."""

    accounts: AccountServiceStub
    discovery: DiscoveryServiceStub
    session: CqlSession
    store: AccountStore
    users: Users
    graph: Instance

    async def register(self, username: str = "") -> pb.RegisterResponse:
        name = username or f"u_{secrets.token_hex(6)}"
        response: pb.RegisterResponse = await self.accounts.Register(
            pb.RegisterRequest(username=name, display_name="Ann", password=PASSWORD)
        )
        return response

    async def refresh(self, token: str) -> pb.RefreshResponse:
        response: pb.RefreshResponse = await self.accounts.Refresh(
            pb.RefreshRequest(refresh_token=token)
        )
        return response

    async def refused(self, token: str) -> None:
        with pytest.raises(Unauthenticated) as refused:
            await self.refresh(token)
        assert refused.value.reason == "REFRESH_TOKEN_INVALID"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[Gateway]:
    async with graph_instance(mesh_config) as graph:
        session = await CqlSession.open(mesh_config)
        ids = SnowflakeGenerator()
        lease = WorkerLease(session, ids, "gateway")
        leasing = asyncio.create_task(lease.run())
        outbound = MeshChannel(graph.address)
        store = AccountStore(session, 3600)
        users = Users(GraphLookupServiceStub(outbound))
        key = ec.generate_private_key(ec.SECP256R1())
        tokens = AccessTokens(
            [
                SigningKey.from_pem(
                    key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                )
            ],
            issuer="starling",
            audience="starling-api",
            ttl_s=900,
        )
        passwords = Passwords(2, 64)
        service = AccountService(
            store, users, passwords, tokens, RefreshTokens(store, b"k" * 32), ids
        )
        server = MeshServer(
            mesh_config,
            [
                (add_AccountServiceServicer_to_server, service),
                (
                    add_DiscoveryServiceServicer_to_server,
                    Discovery(tokens, Documentation()),
                ),
            ],
        )
        await lease.wait_held()
        await server.start()
        channel = MeshChannel(f"127.0.0.1:{server.port}")
        yield Gateway(
            AccountServiceStub(channel),
            DiscoveryServiceStub(channel),
            session,
            store,
            users,
            graph,
        )
        await channel.close()
        await server.stop(1.0)
        await outbound.close()
        await cancel_all([leasing])
        await passwords.close()
        await session.close()


async def test_registering_gives_the_user_and_tokens_that_hold(gateway: Gateway) -> None:
    answer = await gateway.accounts.Register(
        pb.RegisterRequest(
            username="Ann_01", display_name=" Ann ", password=PASSWORD, bio="hello\nthere "
        )
    )
    user = answer.user
    assert (user.username, user.display_name, user.bio) == ("ann_01", "Ann", "hello\nthere")
    assert (answer.token_type, answer.expires_in) == ("Bearer", 900)
    assert await gateway.graph.user(user) == user

    jwks = await gateway.discovery.GetJwks(pb.GetJwksRequest())
    (key,) = jwks.keys
    assert (key.kty, key.crv, key.alg, key.use) == ("EC", "P-256", "ES256", "sig")
    verifying = jwt.PyJWK({"kty": key.kty, "crv": key.crv, "x": key.x, "y": key.y, "alg": key.alg})
    claims = jwt.decode(
        answer.access_token, verifying, algorithms=["ES256"], audience="starling-api"
    )
    assert claims["sub"] == str(user.user_id)
    assert claims["username"] == "ann_01"

    login = await gateway.accounts.Login(pb.LoginRequest(username="ANN_01", password=PASSWORD))
    assert login.user == user
    assert login.refresh_token != answer.refresh_token


async def test_a_taken_username_is_refused_in_any_case_and_at_once(gateway: Gateway) -> None:
    await gateway.register("taken_one")
    with pytest.raises(AlreadyExists) as refused:
        await gateway.register("TAKEN_one")
    assert (refused.value.reason, refused.value.domain) == ("USERNAME_TAKEN", "gateway.starling")

    results = await asyncio.gather(
        *(gateway.register("taken_two") for _ in range(6)), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, pb.RegisterResponse)]
    lost = [result for result in results if isinstance(result, AlreadyExists)]
    assert (len(won), len(lost)) == (1, 5)
    assert {(error.reason, error.domain) for error in lost} == {
        ("USERNAME_TAKEN", "gateway.starling")
    }
    login = await gateway.accounts.Login(pb.LoginRequest(username="taken_two", password=PASSWORD))
    assert login.user.user_id == won[0].user.user_id

    async def losers_forgotten() -> bool:
        rows = await gateway.session.execute(
            Statement("test.credentials", "SELECT user_id FROM credential", idempotent=True)
        )
        users = await gateway.graph.users.get_many(user_id for (user_id,) in rows)
        return len(users) == len(rows)

    await until(losers_forgotten)


@pytest.mark.parametrize(
    ("username", "password"),
    [("nobody_at_all", PASSWORD), ("known_user", "wrong password"), ("No body!", PASSWORD)],
)
async def test_bad_credentials_do_not_say_what_was_bad(
    gateway: Gateway, username: str, password: str
) -> None:
    if await gateway.users.id_of("known_user") is None:
        await gateway.register("known_user")
    with pytest.raises(Unauthenticated) as refused:
        await gateway.accounts.Login(pb.LoginRequest(username=username, password=password))
    assert refused.value.reason == "BAD_CREDENTIALS"
    assert refused.value.message == "The username or the password is wrong."
    assert refused.value.metadata == {}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.RegisterRequest(), {"username", "display_name", "password"}),
        (
            pb.RegisterRequest(username="a b", display_name="x", password="short"),
            {"username", "password"},
        ),
        (
            pb.RegisterRequest(username="fine", display_name=" ", bio="b" * 161, password=PASSWORD),
            {"display_name", "bio"},
        ),
        (
            pb.RegisterRequest(username="fine", display_name="x", password="p" * 129),
            {"password"},
        ),
        (pb.RegisterRequest(username="fine\n", display_name="x", password=PASSWORD), {"username"}),
    ],
)
async def test_what_is_wrong_is_named(
    gateway: Gateway, request_: pb.RegisterRequest, fields: set[str]
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await gateway.accounts.Register(request_)
    assert {violation.field for violation in refused.value.violations} == fields


async def test_a_lost_answer_of_graph_svc_is_resolved_under_the_same_id(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = gateway.users._graph.CreateUser
    seen: list[int] = []

    async def answer_lost(
        request: CreateUserRequest, timeout: float | None = None
    ) -> CreateUserResponse:
        seen.append(request.user_id)
        response: CreateUserResponse = await create(request, timeout=timeout)
        if len(seen) < 3:
            raise OutcomeUnknown("the answer was lost")
        return response

    monkeypatch.setattr(gateway.users._graph, "CreateUser", answer_lost)
    answer = await gateway.register("lost_answer")
    assert seen == [answer.user.user_id] * 3


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_family(gateway: Gateway) -> None:
    first = (await gateway.register()).refresh_token
    other = await gateway.register()
    answer = await gateway.refresh(first)
    assert answer.expires_in == 900
    second = (await gateway.refresh(answer.refresh_token)).refresh_token
    third = (await gateway.refresh(second)).refresh_token
    await gateway.refused(first)
    await gateway.refused(third)
    await gateway.refused(second)
    await gateway.refresh(other.refresh_token)


@pytest.mark.parametrize("token", ["x", "A" * 64, "*" * 64, "ü" * 64])
async def test_what_never_was_a_refresh_token(gateway: Gateway, token: str) -> None:
    await gateway.refused(token)


async def test_a_token_that_was_never_issued_ends_nothing(gateway: Gateway) -> None:
    token = (await gateway.register()).refresh_token
    for at in (0, 21, 30, 44, 63):
        await gateway.refused(token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :])
    await gateway.refresh(token)


@pytest.mark.parametrize("attempt", range(5))
async def test_of_many_refreshes_of_one_token_one_succeeds(gateway: Gateway, attempt: int) -> None:
    token = (await gateway.register()).refresh_token
    results = await asyncio.gather(
        *(gateway.refresh(token) for _ in range(8)), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, pb.RefreshResponse)]
    lost = [result for result in results if isinstance(result, Unauthenticated)]
    assert (len(won), len(lost)) == (1, 7)
    await gateway.refused(won[0].refresh_token)


async def test_signing_out_ends_ones_own_family_alone(gateway: Gateway) -> None:
    ann, bob = await gateway.register(), await gateway.register()
    elsewhere = await gateway.accounts.Login(
        pb.LoginRequest(username=ann.user.username, password=PASSWORD)
    )
    with calling_as(bob.user):
        for token in (ann.refresh_token, "A" * 64, "nonsense"):
            done = await gateway.accounts.Logout(pb.LogoutRequest(refresh_token=token))
            assert done.success
    refreshed = await gateway.refresh(ann.refresh_token)
    with calling_as(ann.user):
        for _ in range(2):
            await gateway.accounts.Logout(pb.LogoutRequest(refresh_token=refreshed.refresh_token))
    await gateway.refused(refreshed.refresh_token)
    await gateway.refresh(elsewhere.refresh_token)
    await gateway.refresh(bob.refresh_token)
    with pytest.raises(Unauthenticated):
        await gateway.accounts.Logout(pb.LogoutRequest(refresh_token=bob.refresh_token))


@pytest.mark.parametrize("applied", [True, False])
async def test_a_rotation_without_an_answer_is_resolved(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    """Once the outcome of a conditional write is lost; the client sees nothing of it."""
    token = (await gateway.register()).refresh_token
    execute_lwt = gateway.session.execute_lwt
    lost: list[str] = []

    async def losing(statement: Statement, params: Sequence[object] = ()) -> Lwt:
        if statement.name == "refresh_family.rotate" and not lost:
            lost.append(statement.name)
            if applied:
                await execute_lwt(statement, params)
            raise OutcomeUnknown("the answer was lost")
        return await execute_lwt(statement, params)

    monkeypatch.setattr(gateway.session, "execute_lwt", losing)
    rotated = await gateway.refresh(token)
    assert lost
    monkeypatch.undo()
    await gateway.refresh(rotated.refresh_token)


async def test_while_graph_svc_is_away_a_refresh_token_stays_good(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = (await gateway.register()).refresh_token

    async def away(request: object) -> object:
        raise Unavailable("graph_svc is away")

    monkeypatch.setattr(gateway.users._graph, "BatchGetUsers", away)
    with pytest.raises(StarlingError) as refused:
        await gateway.refresh(token)
    assert isinstance(refused.value, Unavailable)
    monkeypatch.undo()
    await gateway.refresh(token)
