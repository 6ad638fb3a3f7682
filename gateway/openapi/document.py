"""The OpenAPI 3.1 document as a whole, and one operation for each public RPC."""

from __future__ import annotations

import re
from typing import Any

from gateway.openapi import failures, notes, status
from gateway.openapi.descriptors import Binding, Field, Method, Protos, Service, unwrap
from gateway.openapi.schemas import Schemas

Json = dict[str, Any]

_PATH_FIELD = re.compile(r"{(\w+)}")
_OPEN = re.compile(r"\s*Needs no (?:access )?token\.")
_RPC_NAME = re.compile(r"\b[A-Z]\w*[a-z]\w*\b")
_SECURITY = "accessToken"


def build(protos: Protos) -> Json:
    """The document; equal for equal protos, notes included. Raises for what it cannot describe."""
    return _Document(protos).build()


class _Document:
    def __init__(self, protos: Protos) -> None:
        self._protos = protos
        self._tags = {tag.service: tag.name for tag in notes.TAGS}
        self._calls = {
            method.name: f"{method.bindings[0].verb.upper()} {method.bindings[0].path}"
            for service in protos.services
            for method in service.methods
            if method.bindings
        }
        self._schemas = Schemas(protos, self._prose)

    def build(self) -> Json:
        paths: dict[str, Json] = {}
        for tag in notes.TAGS:
            service = next(each for each in self._protos.services if each.name == tag.service)
            for method in service.methods:
                for binding in method.bindings:
                    if method.name in notes.HIDDEN_RPCS:
                        continue
                    operation = self._operation(service, method, binding)
                    paths.setdefault(binding.path, {})[binding.verb] = operation
        for path, operation in notes.OPERATIONS.items():
            paths[path] = {"get": operation}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": notes.TITLE,
                "version": notes.VERSION,
                "summary": "A Twitter-like backend built as a gRPC service mesh.",
                "description": unwrap(notes.INTRODUCTION),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "Where this document comes from."}],
            "security": [{_SECURITY: []}],
            "tags": [{"name": tag.name, "description": tag.description} for tag in notes.TAGS],
            "paths": paths,
            "components": {
                "securitySchemes": {
                    _SECURITY: {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": "The `access_token` of registering, logging in or renewing.",
                    }
                },
                "responses": status.components(),
                "schemas": {**self._schemas.components, **status.schemas()},
            },
        }

    def _operation(self, service: Service, method: Method, binding: Binding) -> Json:
        is_open = any(_OPEN.search(each) for each in (service.comment, method.comment))
        bound = frozenset(_PATH_FIELD.findall(binding.path))
        request = self._protos.messages[method.request]
        operation: Json = {
            "tags": [self._tags[service.name]],
            "operationId": method.name[0].lower() + method.name[1:],
            "summary": notes.SUMMARIES[method.name],
            "description": self._prose(_OPEN.sub("", failures.without_errors(method.comment))),
        }
        if is_open:
            operation["security"] = []
        query = () if binding.body else [f for f in request.fields if f.name not in bound]
        parameters = [
            *(self._parameter(field, "path") for field in request.fields if field.name in bound),
            *(self._parameter(field, "query") for field in query),
            *notes.HEADERS.get(method.name, ()),
        ]
        if parameters:
            operation["parameters"] = parameters
        if binding.body:
            operation["requestBody"] = self._body(method, bound)
        given = failures.declared(method.comment, service)
        given += failures.declared(notes.FAILURES.get(method.name, ""), service)
        if any(field.name == "cursor" for field in request.fields):
            given.append(failures.of_cursor())
        operation["responses"] = {
            "200": self._success(method),
            **failures.responses(
                given,
                [field.name for field in request.fields],
                secured=not is_open,
                has_body=bool(binding.body),
                prose=self._prose,
            ),
        }
        return operation

    def _parameter(self, field: Field, place: str) -> Json:
        schema = self._schemas.field(field)
        description = schema.pop("description", "")
        parameter: Json = {"name": field.name, "in": place, "required": place == "path"}
        if description:
            parameter["description"] = description
        parameter["schema"] = schema
        if place == "path":
            parameter["example"] = self._schemas.field_example(field)
        return parameter

    def _body(self, method: Method, bound: frozenset[str]) -> Json:
        return {
            "required": self._schemas.requires_body(method.request, bound),
            "content": {
                "application/json": {
                    "schema": self._schemas.request(method.request, bound),
                    "example": notes.REQUEST_EXAMPLES[method.name],
                }
            },
        }

    def _success(self, method: Method) -> Json:
        if method.name in notes.RAW_RESPONSES:
            media_type, schema = notes.RAW_RESPONSES[method.name]
            return {"description": "OK", "content": {media_type: {"schema": schema}}}
        media = {
            "schema": self._schemas.response(method.response),
            "example": self._schemas.example(method.response),
        }
        return {"description": "OK", "content": {"application/json": media}}

    def _prose(self, comment: str) -> str:
        """A comment in the words of a REST reader: RPCs become calls, metadata becomes headers."""
        for phrase, words in notes.PHRASES.items():
            comment = comment.replace(phrase, words)
        return _RPC_NAME.sub(self._call, comment)

    def _call(self, name: re.Match[str]) -> str:
        call = self._calls.get(name[0])
        # "Retweet" and "Login" are words too; only names of two words or more are surely RPCs.
        return f"`{call}`" if call and re.search("[a-z][A-Z]", name[0]) else name[0]
