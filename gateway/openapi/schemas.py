"""JSON Schemas and examples of messages, in the JSON that the edge transcodes to and from.

int64 is a string of digits, uint32 a number; every field of a response is there; a request's field is
required when leaving it out would break its limits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from gateway.openapi import notes
from gateway.openapi.descriptors import Field, Message, Protos

Json = dict[str, Any]

# Snowflakes: positive, without leading zeros; 9223372036854775807 has 19 digits.
ID_PATTERN = "^[1-9][0-9]{0,18}$"
_INT64_PATTERN = "^(0|-?[1-9][0-9]{0,18})$"
_UINT32_MAX = 4294967295
_LEFT_OUT = re.compile(r"left out, (\d+|none)\b")


class Schemas:
    """The schemas of `components`, made as they are referred to."""

    def __init__(self, protos: Protos, prose: Callable[[str], str]) -> None:
        """`prose` turns a comment into the words of a REST reader."""
        self._protos = protos
        self._prose = prose
        self._components: dict[str, Json] = {}

    @property
    def components(self) -> dict[str, Json]:
        """All schemas referred to so far, by name in alphabetical order."""
        return {name: self._components[name] for name in sorted(self._components)}

    def response(self, message_name: str) -> Json:
        """A reference to the schema of a message that the API answers."""
        message = self._protos.messages[message_name]
        if message.name not in self._components:
            self._components[message.name] = {}  # stands while its fields refer to it
            self._components[message.name] = self._object(
                message, message.fields, [field.name for field in message.fields]
            )
        return {"$ref": f"#/components/schemas/{message.name}"}

    def request(self, message_name: str, bound: Collection[str]) -> Json:
        """A reference to the schema of a body; the fields in `bound` come from the path instead."""
        message = self._protos.messages[message_name]
        fields = tuple(field for field in message.fields if field.name not in bound)
        required = [field.name for field in fields if self.is_required(field)]
        self._components[message.name] = self._object(message, fields, required)
        return {"$ref": f"#/components/schemas/{message.name}"}

    def requires_body(self, message_name: str, bound: Collection[str]) -> bool:
        """Whether a body made of nothing would be refused."""
        fields = self._protos.messages[message_name].fields
        return any(field.name not in bound and self.is_required(field) for field in fields)

    def is_required(self, field: Field) -> bool:
        """Whether a request without this field is refused."""
        if field.optional or field.repeated:
            return False
        schema = self.field(field)
        if schema.get("type") != "string":
            return False
        pattern = schema.get("pattern")
        return schema.get("minLength", 0) > 0 or bool(pattern and not re.search(pattern, ""))

    def field(self, field: Field) -> Json:
        """The schema of one field, with its limits, default and description."""
        one = self._scalar(field) if not field.message_name else self.response(field.message_name)
        if field.repeated:
            one = {"type": "array", "items": one, **_array_limits(field)}
        schema = {**one, **notes.LIMITS.get(field.full_name, {})}
        left_out = _LEFT_OUT.search(field.comment)
        if left_out and schema.get("type") == "integer":
            schema["default"] = 0 if left_out[1] == "none" else int(left_out[1])
        description = self._prose(notes.DESCRIPTIONS.get(field.full_name, field.comment))
        return {**schema, "description": description} if description else schema

    def example(self, message_name: str) -> Json:
        """An example of a message that the API answers, complete and valid."""
        return {
            field.name: self.field_example(field)
            for field in self._protos.messages[message_name].fields
        }

    def field_example(self, field: Field) -> Any:
        """An example of one field's value."""
        for name in (field.full_name, field.name):
            if name in notes.EXAMPLES:
                return notes.EXAMPLES[name]
        if field.message_name:
            value = self.example(field.message_name)
            return [value] if field.repeated else value
        raise KeyError(f"notes.EXAMPLES has no example of {field.full_name}")

    def _object(self, message: Message, fields: tuple[Field, ...], required: list[str]) -> Json:
        schema: Json = {"type": "object"}
        if message.comment:
            # The first paragraph tells a reader of JSON enough; the rest is for those who write services.
            schema["description"] = self._prose(message.comment.partition("\n\n")[0])
        schema["properties"] = {field.name: self.field(field) for field in fields}
        if required:
            schema["required"] = required
        return schema

    def _scalar(self, field: Field) -> Json:
        rules = field.rules.repeated.items if field.repeated else field.rules
        kind = field.proto.type
        if kind == FieldDescriptorProto.TYPE_INT64:
            pattern = ID_PATTERN if field.name.endswith("_id") else _INT64_PATTERN
            return {"type": "string", "format": "int64", "pattern": pattern}
        if kind == FieldDescriptorProto.TYPE_UINT32:
            return {
                "type": "integer",
                "format": "int64",  # JSON Schema knows no uint32; int32 would be too small
                "minimum": rules.uint32.gte,
                "maximum": rules.uint32.lte if rules.uint32.HasField("lte") else _UINT32_MAX,
            }
        if kind == FieldDescriptorProto.TYPE_BOOL:
            return {"type": "boolean"}
        if kind == FieldDescriptorProto.TYPE_STRING:
            schema: Json = {"type": "string"}
            for keyword, rule in (("minLength", "min_len"), ("maxLength", "max_len")):
                if rules.string.HasField(rule):
                    schema[keyword] = getattr(rules.string, rule)
            if rules.string.HasField("pattern"):
                schema["pattern"] = rules.string.pattern
            return schema
        raise ValueError(f"{field.full_name}: no JSON Schema is known for this type")


def _array_limits(field: Field) -> Json:
    rules = field.rules.repeated
    limits: Json = {}
    for keyword, rule in (("minItems", "min_items"), ("maxItems", "max_items")):
        if rules.HasField(rule):
            limits[keyword] = getattr(rules, rule)
    return limits
