"""The protos as buf compiles them, comments included: what the API document is made from."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from buf.validate import validate_pb2
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

_VERBS = ("get", "put", "post", "delete", "patch")
# Numbers of the fields of FileDescriptorProto and its parts, as SourceCodeInfo paths spell them.
_FILE_MESSAGES, _FILE_SERVICES = 4, 6
_MESSAGE_FIELDS, _SERVICE_METHODS = 2, 2


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `full_name` such as "starling.tweet.v1.Tweet.content"; `comment` is unwrapped."""

    full_name: str
    comment: str
    proto: descriptor_pb2.FieldDescriptorProto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def repeated(self) -> bool:
        return self.proto.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED

    @property
    def optional(self) -> bool:
        """Whether it is declared `optional`: unset differs from the default value."""
        return self.proto.proto3_optional

    @property
    def message_name(self) -> str:
        """The full name of its message type, or "" for a scalar."""
        return self.proto.type_name.removeprefix(".")

    @property
    def rules(self) -> validate_pb2.FieldRules:
        """protovalidate's rules; empty where there are none."""
        return self.proto.options.Extensions[validate_pb2.field]  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class Message:
    """A message with its fields in declared order."""

    full_name: str
    comment: str
    fields: tuple[Field, ...]

    @property
    def name(self) -> str:
        return self.full_name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Binding:
    """One REST spelling of a method: `verb` in lower case, `path` as annotated, `body` "*" or ""."""

    verb: str
    path: str
    body: str


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC; `bindings` is empty for those that are not public."""

    name: str
    comment: str
    request: str
    response: str
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its methods in declared order; `domain` is that of its errors' reasons."""

    name: str
    package: str
    comment: str
    methods: tuple[Method, ...]

    @property
    def domain(self) -> str:
        return f"{self.package.split('.')[1]}.starling"


@dataclass(frozen=True, slots=True)
class Protos:
    """All of starling's services, by file and then as declared, and all messages by full name."""

    services: tuple[Service, ...]
    messages: dict[str, Message]


def compile_protos(root: Path) -> Protos:
    """The protos under `root`/protos. Raises CalledProcessError when buf refuses them."""
    # The environment's own buf, whether or not its scripts are on the path.
    buf = Path(sysconfig.get_path("scripts")) / "buf"
    built = subprocess.run(  # noqa: S603
        [str(buf), "build", "protos", "--as-file-descriptor-set", "-o", "-"],
        cwd=root,
        check=True,
        stdout=subprocess.PIPE,
    )
    return parse(descriptor_pb2.FileDescriptorSet.FromString(built.stdout))


def parse(files: descriptor_pb2.FileDescriptorSet) -> Protos:
    """The same from a descriptor set that holds source info."""
    services: list[Service] = []
    messages: dict[str, Message] = {}
    for file in sorted(files.file, key=lambda each: each.name):
        if not file.package.startswith("starling."):
            continue
        comments = {
            tuple(location.path): unwrap(location.leading_comments)
            for location in file.source_code_info.location
            if location.leading_comments
        }
        for message in _messages(file, comments):
            messages[message.full_name] = message
        services += _services(file, comments)
    return Protos(tuple(services), messages)


def _messages(
    file: descriptor_pb2.FileDescriptorProto, comments: dict[tuple[int, ...], str]
) -> Iterator[Message]:
    for number, message in enumerate(file.message_type):
        full_name = f"{file.package}.{message.name}"
        path = (_FILE_MESSAGES, number)
        yield Message(
            full_name,
            comments.get(path, ""),
            tuple(
                Field(
                    f"{full_name}.{field.name}",
                    comments.get((*path, _MESSAGE_FIELDS, index), ""),
                    field,
                )
                for index, field in enumerate(message.field)
            ),
        )


def _services(
    file: descriptor_pb2.FileDescriptorProto, comments: dict[tuple[int, ...], str]
) -> Iterator[Service]:
    for number, service in enumerate(file.service):
        path = (_FILE_SERVICES, number)
        yield Service(
            service.name,
            file.package,
            comments.get(path, ""),
            tuple(
                Method(
                    method.name,
                    comments.get((*path, _SERVICE_METHODS, index), ""),
                    method.input_type.removeprefix("."),
                    method.output_type.removeprefix("."),
                    tuple(_bindings(method.options.Extensions[annotations_pb2.http])),
                )
                for index, method in enumerate(service.method)
            ),
        )


def _bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    verb = rule.WhichOneof("pattern")
    if verb in _VERBS:
        yield Binding(verb, getattr(rule, verb), rule.body)
    for more in rule.additional_bindings:
        yield from _bindings(more)


def unwrap(comment: str) -> str:
    """A text's paragraphs, each on one line, as renderers that keep line breaks need them."""
    lines = "\n".join(line.strip() for line in comment.strip().splitlines())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in lines.split("\n\n"))
