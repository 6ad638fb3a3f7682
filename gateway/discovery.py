"""Public keys and the API's documentation (starling.gateway.v1.DiscoveryService)."""

from __future__ import annotations

from typing import Any

import grpc
from google.api import httpbody_pb2
from starling.gateway.v1 import account_service_pb2 as pb
from starling.gateway.v1.account_service_pb2_grpc import DiscoveryServiceServicer

from gateway.access_tokens import AccessTokens
from gateway.documentation import Documentation

Context = grpc.aio.ServicerContext[Any, Any]


class Discovery(DiscoveryServiceServicer):
    """Open to everybody."""

    def __init__(self, access_tokens: AccessTokens, documentation: Documentation) -> None:
        self._jwks = pb.GetJwksResponse(keys=access_tokens.public_keys())
        self._documentation = documentation

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return self._jwks

    async def GetOpenApi(
        self, request: pb.GetOpenApiRequest, context: Context
    ) -> httpbody_pb2.HttpBody:
        return await self._documentation.open_api(context)

    async def GetDocs(self, request: pb.GetDocsRequest, context: Context) -> httpbody_pb2.HttpBody:
        return await self._documentation.page(request.file, context)
