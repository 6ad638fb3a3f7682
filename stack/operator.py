"""Calls from this machine's command line to the services, past the edge.

By mTLS with the `operator` certificate, to the services' inbound sidecars; what the operator may call
stands in `envoy/policy.py`. It names the user that a call is for itself, as the edge does from a token.

Its calls are not traced: they come by the ten thousand, and would drive the users' from the trace store.
"""

import json
from types import TracebackType
from typing import Self

import grpc
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext
from starling.gateway.v1.account_service_pb2_grpc import AccountServiceStub
from starling.graph.v1.graph_lookup_service_pb2_grpc import GraphLookupServiceStub
from starling.tweet.v1.tweet_lookup_service_pb2_grpc import TweetLookupServiceStub
from starling.tweet.v1.tweet_service_pb2_grpc import TweetServiceStub

from meshkit import telemetry
from meshkit.channel import MeshChannel
from meshkit.identity import USER_ID_KEY, USERNAME_KEY
from stack.certificates import OPERATOR
from stack.errors import StackError
from stack.run_dir import RunDir

Metadata = list[tuple[str, str]]


class Operator:
    """Stubs of the services of the mesh that runs in `run`, used in its `async with`; their calls raise
    StarlingErrors.

    Raises StackError if no mesh runs there.
    """

    def __init__(self, run: RunDir) -> None:
        self._credentials = _credentials(run)
        self._addresses = _inbound_addresses(run)
        self._channels: list[MeshChannel] = []
        self.accounts = AccountServiceStub(self._channel("gateway"))
        graph = self._channel("graph_svc")
        self.graph = GraphLookupServiceStub(graph)
        tweets = self._channel("tweet_svc")
        self.tweets = TweetServiceStub(tweets)
        self.tweet_lookup = TweetLookupServiceStub(tweets)

    async def __aenter__(self) -> Self:
        ids = RandomIdGenerator()
        here = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False)
        self._untraced = otel_context.attach(telemetry.context_of(here))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        otel_context.detach(self._untraced)
        for channel in self._channels:
            await channel.close()

    def _channel(self, service: str) -> MeshChannel:
        address = self._addresses.get(service)
        if address is None:
            raise StackError(f"{service} does not run: `starling ps` shows what does.")
        channel = MeshChannel(address, credentials=self._credentials, server_name=service)
        self._channels.append(channel)
        return channel


def acting_for(user_id: int, username: str) -> Metadata:
    """The metadata of a call that is made for a user."""
    return [(USER_ID_KEY, str(user_id)), (USERNAME_KEY, username)]


def _credentials(run: RunDir) -> grpc.ChannelCredentials:
    try:
        return grpc.ssl_channel_credentials(
            run.ca.read_bytes(),
            (run.certs / f"{OPERATOR}.key").read_bytes(),
            (run.certs / f"{OPERATOR}.pem").read_bytes(),
        )
    except OSError as error:
        raise StackError(
            f"{error.filename} cannot be read: start the mesh with `starling up`"
        ) from error


def _inbound_addresses(run: RunDir) -> dict[str, str]:
    """Service -> host:port of the inbound listener of its (first) sidecar."""
    try:
        processes = json.loads(run.stack_json.read_text())["processes"]
    except (OSError, ValueError, KeyError) as error:
        raise StackError(
            "The mesh does not run: `starling up` (or `make up`) starts it."
        ) from error
    return {
        process["name"].removesuffix(".envoy"): process["addresses"]["inbound"]
        for process in processes
        if "inbound" in process["addresses"]
    }
