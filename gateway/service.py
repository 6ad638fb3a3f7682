"""Accounts and tokens (starling/gateway/v1/account_service.proto)."""

from __future__ import annotations

import re
from typing import Any, TypedDict

import grpc
from starling.gateway.v1 import account_service_pb2 as pb
from starling.gateway.v1.account_service_pb2_grpc import AccountServiceServicer
from starling.graph.v1.user_pb2 import User

from gateway.access_tokens import AccessTokens
from gateway.account_store import AccountStore
from gateway.passwords import Passwords
from gateway.reasons import BAD_CREDENTIALS, REFRESH_TOKEN_INVALID, username_taken
from gateway.refresh_tokens import RefreshTokens
from gateway.registration import clean_profile
from gateway.users import Users
from meshkit.background import detach
from meshkit.errors import AlreadyExists
from meshkit.identity import current_caller
from meshkit.snowflake import SnowflakeGenerator

Context = grpc.aio.ServicerContext[Any, Any]

_USERNAME = re.compile(r"[a-z0-9_]{3,30}")
_NOBODY = 0


class SignedIn(TypedDict):
    """The fields that every answer with tokens has."""

    user: User
    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int


class AccountService(AccountServiceServicer):
    """Registers, signs in, refreshes and signs out."""

    def __init__(
        self,
        store: AccountStore,
        users: Users,
        passwords: Passwords,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        ids: SnowflakeGenerator,
    ) -> None:
        self._store = store
        self._users = users
        self._passwords = passwords
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._ids = ids

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:
        profile = clean_profile(request)
        # Not the decision, which is create's: it saves the hashing of a password for nothing.
        if await self._users.id_of(profile.username) is not None:
            raise username_taken(profile.username)
        user_id = self._ids.next_id()
        password_hash = await self._passwords.hash(request.password)
        await self._store.put_password_hash(user_id, password_hash)
        try:
            user = await self._users.create(user_id, profile)
        except AlreadyExists:
            detach(self._store.drop_password_hash(user_id), "credential.drop")
            raise
        return pb.RegisterResponse(**await self._sign_in(user))

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        username = request.username.lower()
        user_id = await self._users.id_of(username) if _USERNAME.fullmatch(username) else None
        # The same steps for an unknown user as for a wrong password, so that time does not tell them apart.
        password_hash = await self._store.password_hash(user_id or _NOBODY)
        matches = await self._passwords.verify(password_hash, request.password)
        user = await self._users.get(user_id) if matches and user_id is not None else None
        if user is None:
            raise BAD_CREDENTIALS.error()
        return pb.LoginResponse(**await self._sign_in(user))

    async def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.RefreshResponse:
        family = await self._refresh_tokens.check(request.refresh_token)
        # Before the rotation: if graph_svc is away, the token stays good for another try.
        user = await self._users.get(family.user_id)
        if user is None:
            raise REFRESH_TOKEN_INVALID.error()
        refresh_token = await self._refresh_tokens.rotate(family)
        return pb.RefreshResponse(**self._signed_in(user, refresh_token))

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        caller = current_caller()
        await self._refresh_tokens.revoke(request.refresh_token, caller.user_id)
        return pb.LogoutResponse(success=True)

    async def _sign_in(self, user: User) -> SignedIn:
        refresh_token = await self._refresh_tokens.start(user.user_id, user.username)
        return self._signed_in(user, refresh_token)

    def _signed_in(self, user: User, refresh_token: str) -> SignedIn:
        return SignedIn(
            user=user,
            access_token=self._access_tokens.mint(user.user_id, user.username),
            refresh_token=refresh_token,
            token_type="Bearer",  # noqa: S106 - the scheme of RFC 6750
            expires_in=self._access_tokens.ttl_s,
        )
