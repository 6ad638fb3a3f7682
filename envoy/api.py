"""The API as the descriptor describes it: which RPCs there are, and how REST reaches them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

_VERBS = ("get", "put", "post", "delete", "patch")
_VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Binding:
    """One REST call: `Binding("GET", "/v1/users/{user_id}")`."""

    verb: str
    template: str

    @property
    def variables(self) -> tuple[str, ...]:
        """The fields that the path names."""
        return tuple(_VARIABLE.findall(self.template))

    @property
    def regex(self) -> str:
        """What matches the path as a whole."""
        literals = [re.escape(text) for text in _VARIABLE.split(self.template)[::2]]
        return "[^/]+".join(literals)


@dataclass(frozen=True)
class Method:
    """One RPC."""

    service: str
    """With its package: "starling.tweet.v1.TweetService"."""
    name: str
    bindings: tuple[Binding, ...]
    """How REST reaches it; empty for RPCs between services."""
    repeatable: bool
    """Declared NO_SIDE_EFFECTS or IDEMPOTENT: doing it twice does what doing it once does."""

    @property
    def path(self) -> str:
        """The path of its HTTP/2 requests."""
        return f"/{self.service}/{self.name}"

    @property
    def short_name(self) -> str:
        """As people say it: "TweetService/PostTweet"."""
        return f"{self.service.rpartition('.')[2]}/{self.name}"


@dataclass(frozen=True)
class Api:
    """All RPCs."""

    methods: tuple[Method, ...]

    @property
    def public_services(self) -> tuple[str, ...]:
        """The services that REST reaches, each once, in the descriptor's order."""
        return tuple(dict.fromkeys(method.service for method in self.methods if method.bindings))

    def methods_of(self, *services: str) -> tuple[Method, ...]:
        """The methods of `services`."""
        return tuple(method for method in self.methods if method.service in services)


def read_api(descriptor: Path) -> Api:
    """Raises OSError or DecodeError if there is no descriptor, ValueError if a service is bound to
    REST by some of its methods only.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor.read_bytes()).file
    methods = tuple(method for file in files for method in _methods(file))
    for service in {method.service for method in methods}:
        if len({bool(method.bindings) for method in methods if method.service == service}) > 1:
            raise ValueError(f"{service} mixes public and internal methods")
    return Api(methods)


def transcodable(descriptor: Path) -> bytes:
    """The descriptor as the transcoder takes it: it refuses templates that end in a slash, and
    takes a request's path with and without one as the same.
    """
    found = descriptor_pb2.FileDescriptorSet.FromString(descriptor.read_bytes())
    for file in found.file:
        for service in file.service:
            for method in service.method:
                rule = method.options.Extensions[annotations_pb2.http]
                kept = [r for r in rule.additional_bindings if not r.get.endswith("/")]
                del rule.additional_bindings[:]
                rule.additional_bindings.extend(kept)
    return found.SerializeToString()


def _methods(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Method]:
    unknown = descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    for service in file.service:
        for method in service.method:
            yield Method(
                service=f"{file.package}.{service.name}",
                name=method.name,
                bindings=tuple(_bindings(method.options.Extensions[annotations_pb2.http])),
                repeatable=method.options.idempotency_level != unknown,
            )


def _bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    verb = rule.WhichOneof("pattern")
    if verb in _VERBS:
        yield Binding(verb.upper(), getattr(rule, verb))
    for additional in rule.additional_bindings:
        yield from _bindings(additional)
