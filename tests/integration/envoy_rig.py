"""A real edge and real sidecars in front of recording gRPC servers that stand for the services."""

import asyncio
import base64
import json
import os
import ssl
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from starling.gateway.v1 import account_service_pb2
from starling.graph.v1 import graph_lookup_service_pb2, graph_service_pb2
from starling.timeline.v1 import timeline_service_pb2
from starling.tweet.v1 import tweet_lookup_service_pb2, tweet_service_pb2

from envoy.api import Api, read_api
from envoy.binary import envoy_path
from envoy.rendering import render
from envoy.spec import (
    DESCRIPTOR,
    Certificate,
    EdgeSpec,
    MeshSpec,
    RateLimits,
    ServiceSpec,
    TokenSpec,
    TracingSpec,
)
from stack import certificates
from stack.ports import free_ports
from stack.run_dir import RunDir
from tests.conftest import until

ISSUER = "https://starling.test"
AUDIENCE = "starling"
USER_ID = 1234567890123456789
SERVICES = ("gateway", "graph_svc", "tweet_svc", "timeline_svc", "fanout")
FILES = (
    account_service_pb2,
    graph_service_pb2,
    graph_lookup_service_pb2,
    timeline_service_pb2,
    tweet_service_pb2,
    tweet_lookup_service_pb2,
)


@dataclass
class Call:
    """A call as a service saw it."""

    instance: str
    path: str
    request: Message
    metadata: dict[str, str | bytes]
    time_remaining_s: float | None


Answer = Callable[[Message, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]


@dataclass
class Recorder:
    """What the services were asked, and what they answer; an empty message by default."""

    calls: list[Call] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def last(self, method: str) -> Call:
        """The newest call of `Service/Method`."""
        return next(c for c in reversed(self.calls) if c.path.endswith(method))

    def reset(self) -> None:
        """Forget the calls, and the answers but that of the keys."""
        self.calls.clear()
        for path in list(self.answers):
            if not path.endswith("GetJwks"):
                del self.answers[path]


class Service(grpc.GenericRpcHandler):
    """One recording server on a unix socket."""

    def __init__(self, instance: str, spec: ServiceSpec, recorder: Recorder) -> None:
        self.instance = instance
        self._socket = spec.socket
        self._recorder = recorder
        self._methods = {
            f"/{service.full_name}/{method.name}": method
            for module in FILES
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }
        self.health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen and be healthy."""
        self._socket.unlink(missing_ok=True)
        self._server = grpc.aio.server(options=[("grpc.max_metadata_size", 32 << 10)])
        self._server.add_generic_rpc_handlers((self,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self) -> None:
        """End at once."""
        if self._server:
            await self._server.stop(0)
            self._server = None
        self._socket.unlink(missing_ok=True)

    def service(self, details: Any) -> Any:
        """The handler of any method of the API."""
        method = self._methods.get(details.method)
        if method is None:
            return None
        request_type = message_factory.GetMessageClass(method.input_type)
        response_type = message_factory.GetMessageClass(method.output_type)

        async def answer(request: Message, context: Any) -> Message:
            call = Call(
                self.instance,
                details.method,
                request,
                dict(context.invocation_metadata()),
                context.time_remaining(),
            )
            if call.metadata.get("user-agent") != "Go-browser":  # the edge itself, for the keys
                self._recorder.calls.append(call)
            known = self._recorder.answers.get(details.method)
            return await known(request, context) if known else response_type()

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request_type.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


@dataclass
class Envoy:
    """A running process of its own configuration."""

    name: str
    admin_port: int
    process: asyncio.subprocess.Process
    log: Path

    def admin(self, path: str, method: str = "GET") -> str:
        """What the admin listener answers."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        request = urllib.request.Request(url, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())

    def ready(self) -> bool:
        """Whether it serves."""
        try:
            return self.admin("/ready").strip() == "LIVE"
        except OSError:
            return False

    def reaches_all(self) -> bool:
        """Whether every host it forwards to has passed its health check."""
        clusters = json.loads(self.admin("/clusters?format=json"))["cluster_statuses"]
        hosts = [host for cluster in clusters for host in cluster.get("host_statuses", [])]
        return all(set(host["health_status"]) == {"eds_health_status"} for host in hosts)

    async def stop(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@dataclass
class Mesh:
    """Everything that runs, and a client for it."""

    spec: MeshSpec
    recorder: Recorder
    services: dict[str, Service]
    envoys: dict[str, Envoy]
    client: httpx.AsyncClient
    key: ec.EllipticCurvePrivateKey
    directory: Path
    api: Api

    @property
    def url(self) -> str:
        """The edge's."""
        return f"https://localhost:{self.spec.edge.port}"

    def token(self, key: ec.EllipticCurvePrivateKey | None = None, **claims: Any) -> str:
        """An access token for USER_ID."""
        now = int(time.time())
        content = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(USER_ID),
            "username": "alice",
            "iat": now,
            "exp": now + 900,
            **claims,
        }
        return jwt.encode(content, key or self.key, algorithm="ES256", headers={"kid": "test"})

    async def request(
        self, verb: str, path: str, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        """A request with a good token, or with `token`; "" sends none."""
        headers = dict(options.pop("headers", {}))
        if token != "":
            headers.setdefault("authorization", f"Bearer {token or self.token()}")
        return await self.client.request(verb, self.url + path, headers=headers, **options)

    def trusting(self) -> ssl.SSLContext:
        """What a client of the edge trusts."""
        return ssl.create_default_context(cafile=str(self.spec.ca))

    def tls(self, name: str) -> grpc.ChannelCredentials:
        """The credentials of `name` inside the mesh."""
        pair = certificate(self.directory, name)
        return grpc.ssl_channel_credentials(
            self.spec.ca.read_bytes(), pair.key.read_bytes(), pair.chain.read_bytes()
        )

    def inbound(self, name: str, caller: str) -> grpc.aio.Channel:
        """A channel to a service's sidecar with the certificate of `caller`."""
        port = self.spec.instances(name)[0].inbound_port
        options = [("grpc.ssl_target_name_override", name)]
        return grpc.aio.secure_channel(f"127.0.0.1:{port}", self.tls(caller), options)

    def outbound(self, name: str) -> grpc.aio.Channel:
        """The channel that service `name` calls others by."""
        options = [("grpc.default_authority", "mesh.starling")]
        socket = self.spec.instances(name)[0].outbound_socket
        return grpc.aio.insecure_channel(f"unix:{socket}", options)


def certificate(directory: Path, name: str) -> Certificate:
    """The files that `stack.certificates` writes for `name`."""
    return Certificate(directory / "certs" / f"{name}.pem", directory / "certs" / f"{name}.key")


def mesh_spec(
    directory: Path,
    instances: tuple[str, ...] = SERVICES,
    tracing: TracingSpec | None = None,
    limits: RateLimits | None = None,
) -> MeshSpec:
    """A mesh on free ports, with certificates of its own, below `directory`."""
    certificates.make(RunDir(directory), ("edge", *SERVICES))
    ports = iter(free_ports(2 + 2 * len(instances)))
    services = tuple(
        ServiceSpec(
            name=(name := instance.partition("-")[0]),
            instance=instance,
            socket=directory / f"{instance}.sock",
            outbound_socket=directory / f"{instance}.out.sock",
            inbound_port=next(ports),
            admin_port=next(ports),
            certificate=certificate(directory, name),
        )
        for instance in instances
    )
    return MeshSpec(
        edge=EdgeSpec(
            port=next(ports),
            admin_port=next(ports),
            server_certificate=certificate(directory, "localhost"),
            client_certificate=certificate(directory, "edge"),
            private_socket=directory / "edge.sock",
        ),
        services=services,
        ca=RunDir(directory).ca,
        token=TokenSpec(ISSUER, AUDIENCE),
        limits=limits or RateLimits(ip_rps=100_000, user_rps=100_000, auth_per_min=100_000),
        tracing=tracing,
    )


async def run_envoy(name: str, admin_port: int, config: Path) -> Envoy:
    """Starts the process; it is not ready yet."""
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            envoy_path(),
            *("-c", str(config), "--disable-hot-restart", "--concurrency", "1"),
            *("--log-level", os.environ.get("ENVOY_LOG_LEVEL", "warning")),
            stdout=output,
            stderr=output,
        )
    return Envoy(name, admin_port, process, log)


@asynccontextmanager
async def running(spec: MeshSpec, directory: Path, services: bool = True) -> AsyncIterator[Mesh]:
    """The mesh of `spec`, ready; without `services` only the Envoys."""
    configs = render(spec, directory / "envoy")
    admin_ports = {f"{s.instance}.envoy": s.admin_port for s in spec.services}
    admin_ports["edge"] = spec.edge.admin_port
    recorder = Recorder()
    key = ec.generate_private_key(ec.SECP256R1())
    recorder.answers["/starling.gateway.v1.DiscoveryService/GetJwks"] = jwks(key)
    async with AsyncExitStack() as stack:
        started = {s.instance: Service(s.instance, s, recorder) for s in spec.services}
        for service in started.values():
            stack.push_async_callback(service.stop)
            if services:
                await service.start()
        envoys = {}
        for name, config in configs.items():
            envoys[name] = await run_envoy(name, admin_ports[name], config)
            stack.push_async_callback(envoys[name].stop)
        for envoy in envoys.values():
            await until(envoy.ready, what=f"{envoy.name}: {envoy.log.read_text()[-2000:]}")
        trusting = ssl.create_default_context(cafile=str(spec.ca))
        client = await stack.enter_async_context(httpx.AsyncClient(verify=trusting, http2=True))
        mesh = Mesh(spec, recorder, started, envoys, client, key, directory, read_api(DESCRIPTOR))
        if services:
            for envoy in envoys.values():
                await until(envoy.reaches_all, what=f"{envoy.name} reaching all services")
            await until(lambda: _answers(mesh), what="a first answer through the mesh")
            recorder.reset()
        yield mesh


async def _answers(mesh: Mesh) -> bool:
    """Whether every service can be reached, and tokens are verified; slow enough for any limit."""
    paths = ("/v1/timeline/home", "/v1/users/1", "/v1/tweets/1", "/.well-known/jwks.json")
    token = mesh.token(sub=str(time.time_ns()))
    answers = [await mesh.request("GET", path, token=token) for path in paths]
    await asyncio.sleep(0.2)
    return all(answer.status_code == 200 for answer in answers)


def jwks(key: ec.EllipticCurvePrivateKey) -> Answer:
    """The gateway's answer with the public half of `key`."""
    numbers = key.public_key().public_numbers()

    def text(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    async def answer(request: Message, context: Any) -> Message:
        return account_service_pb2.GetJwksResponse(
            keys=[
                account_service_pb2.JsonWebKey(
                    kty="EC",
                    crv="P-256",
                    x=text(numbers.x),
                    y=text(numbers.y),
                    kid="test",
                    use="sig",
                    alg="ES256",
                )
            ]
        )

    return answer


@asynccontextmanager
async def new_directory() -> AsyncIterator[Path]:
    """A directory with a short name: a unix socket's path is at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="starling-envoy-") as directory:
        yield Path(directory)
