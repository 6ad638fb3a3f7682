"""The API as the descriptor describes it: which RPCs there are, and how REST reaches them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from buf.validate import validate_pb2
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

_VERBS = ("get", "put", "post", "delete", "patch")
_VARIABLE = re.compile(r"\{(\w+)\}")
_FieldProto = descriptor_pb2.FieldDescriptorProto
_WHOLE = {
    _FieldProto.TYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    _FieldProto.TYPE_UINT32: ("uint32", 0, 2**32 - 1),
}
"""The types of numbers in public requests: their rules' name, and their own bounds."""


@dataclass(frozen=True)
class Binding:
    """One REST call: `Binding("GET", "/v1/users/{user_id}")`."""

    verb: str
    template: str
    has_body: bool = False
    """Whether the request's fields come in a body; otherwise what the path does not name is query."""

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
class Field:
    """One field of a public request."""

    name: str
    json_name: str
    """The other spelling that JSON and queries may use: "mediaIds"."""
    kind: Literal["text", "texts", "whole"]
    least: int = 0
    most: int = 0
    """Of a whole number: its bounds, by the proto's rules and by its type."""


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
    fields: tuple[Field, ...] = ()
    """Of its request, if REST reaches it."""

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
    REST by some of its methods only, or if a public request has a field of a kind that no public
    request has had so far.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor.read_bytes()).file
    messages = {
        f".{f.package}.{message.name}": message for f in files for message in f.message_type
    }
    methods = tuple(method for file in files for method in _methods(file, messages))
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


_Messages = dict[str, descriptor_pb2.DescriptorProto]


def _methods(file: descriptor_pb2.FileDescriptorProto, messages: _Messages) -> Iterator[Method]:
    unknown = descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    for service in file.service:
        for method in service.method:
            bindings = tuple(_bindings(method.options.Extensions[annotations_pb2.http]))
            fields = messages[method.input_type].field if bindings else ()
            yield Method(
                service=f"{file.package}.{service.name}",
                name=method.name,
                bindings=bindings,
                repeatable=method.options.idempotency_level != unknown,
                fields=tuple(_field(field) for field in fields),
            )


def _bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    verb = rule.WhichOneof("pattern")
    if verb in _VERBS:
        if rule.body not in ("", "*"):
            raise ValueError(f"{getattr(rule, verb)}: a body is all fields, or there is none")
        yield Binding(verb.upper(), getattr(rule, verb), has_body=bool(rule.body))
    for additional in rule.additional_bindings:
        yield from _bindings(additional)


def _field(field: _FieldProto) -> Field:
    is_list = field.label == _FieldProto.LABEL_REPEATED
    if field.type == _FieldProto.TYPE_STRING:
        return Field(field.name, field.json_name, "texts" if is_list else "text")
    if is_list or field.type not in _WHOLE:
        raise ValueError(f"{field.name}: the edge does not know how to check a field of this kind")
    name, least, most = _WHOLE[field.type]
    rules = getattr(field.options.Extensions[validate_pb2.field], name)  # type: ignore[index]
    for bound, exclusive in (("gte", 0), ("gt", 1)):
        if rules.HasField(bound):
            least = getattr(rules, bound) + exclusive
    for bound, exclusive in (("lte", 0), ("lt", 1)):
        if rules.HasField(bound):
            most = getattr(rules, bound) - exclusive
    return Field(field.name, field.json_name, "whole", least, most)
