"""What the edge needs to know (starling.gateway.v1.DiscoveryService)."""

from __future__ import annotations

from typing import Any

import grpc
from starling.gateway.v1 import account_service_pb2 as pb
from starling.gateway.v1.account_service_pb2_grpc import DiscoveryServiceServicer

from gateway.access_tokens import AccessTokens

Context = grpc.aio.ServicerContext[Any, Any]


class Discovery(DiscoveryServiceServicer):
    """Open to everybody."""

    def __init__(self, access_tokens: AccessTokens) -> None:
        self._jwks = pb.GetJwksResponse(keys=access_tokens.public_keys())

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return self._jwks
