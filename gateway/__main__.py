"""The gateway: accounts, tokens, keys, API docs. `python -m gateway`, configured by the environment."""

from __future__ import annotations

from starling.gateway.v1.account_service_pb2_grpc import (
    add_AccountServiceServicer_to_server,
    add_DiscoveryServiceServicer_to_server,
)
from starling.graph.v1.graph_lookup_service_pb2_grpc import GraphLookupServiceStub

from gateway.access_tokens import AccessTokens, load_signing_keys
from gateway.account_store import AccountStore
from gateway.config import GatewayConfig
from gateway.discovery import Discovery
from gateway.documentation import Documentation
from gateway.passwords import Passwords
from gateway.refresh_tokens import RefreshTokens
from gateway.service import AccountService
from gateway.users import Users
from meshkit.process import Process, run
from meshkit.snowflake import SnowflakeGenerator
from meshkit.worker_lease import WorkerLease


async def main() -> None:
    config = GatewayConfig.from_env()
    async with Process(config) as process:
        session = await process.cassandra()
        ids = SnowflakeGenerator()
        lease = WorkerLease(session, ids, config.service_instance)
        passwords = Passwords(config.password_threads, config.password_queue)
        process.at_exit(passwords.close)
        store = AccountStore(session, config.refresh_token_ttl_s)
        users = Users(GraphLookupServiceStub(process.mesh()))
        access_tokens = AccessTokens(
            load_signing_keys(config.jwt_signing_key_file),
            issuer=config.jwt_issuer,
            audience=config.jwt_audience,
            ttl_s=config.access_token_ttl_s,
        )
        refresh_tokens = RefreshTokens(store, config.page_token_key())
        accounts = AccountService(store, users, passwords, access_tokens, refresh_tokens, ids)
        discovery = Discovery(access_tokens, Documentation(config.tweet_max_chars))
        await process.serve(
            [
                (add_AccountServiceServicer_to_server, accounts),
                (add_DiscoveryServiceServicer_to_server, discovery),
            ],
            background=[lease.background()],
            ready=[lease.wait_held],
        )


if __name__ == "__main__":
    run(main)
