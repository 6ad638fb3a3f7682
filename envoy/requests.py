"""The script of the filter that reads requests: `requests.lua` with the API's calls before it.

It refuses, before the transcoder would guess: an Authorization header that is more than one token, a
`user_id` or `follower_id` that is not the caller (wherever it stands), unknown and unreadable query
parameters, path parts that are no ids, and JSON that is not strict or not of the call's types. What it
lets through is rewritten to the call's own fields, and holds no identity any more: services take it
from the token.
"""

import json
from pathlib import Path

from envoy import policy
from envoy.api import Api, Field, Method
from envoy.edge_errors import (
    IDENTITY_MISMATCH,
    INTERNAL,
    MALFORMED,
    UNAUTHENTICATED,
)
from envoy.extension import Json

HEALTH = "health"
"""The name of the route that the edge answers itself; it takes no parameters either."""

IDENTITY_FIELDS = {"user_id": "userId", "follower_id": "followerId"}
"""What means the caller, with the other spelling, unless a path names it."""

_HERE = Path(__file__).parent

Lua = str | bool | list["Lua"] | dict[str, "Lua"]


def script(api: Api) -> str:
    """The filter's whole source."""
    calls: dict[str, Lua] = {m.path[1:]: _call(m) for m in api.methods if m.bindings}
    calls[HEALTH] = {"is_open": True, "variables": [], "paths": [], "query": []}
    names: dict[str, Lua] = {name: name for name in IDENTITY_FIELDS}
    names |= {other: name for name, other in IDENTITY_FIELDS.items()}
    mismatch = IDENTITY_MISMATCH.body(
        "@field@ must be the caller's own id", metadata={"field": "@field@"}
    )
    constants: dict[str, Lua] = {
        "CALLS": calls,
        "IDENTITY": names,
        "INTERNAL": _answer(INTERNAL.body()),
        "MALFORMED": _answer(MALFORMED.body("@message@", field="@field@")),
        "MISMATCH": _answer(mismatch),
        "UNAUTHENTICATED": _answer(UNAUTHENTICATED.body()),
    }
    return "\n".join(
        (
            *(f"local {name} = {_lua(value)}" for name, value in constants.items()),
            (_HERE / "strict_json.lua").read_text(),
            (_HERE / "requests.lua").read_text(),
        )
    )


def _call(method: Method) -> Lua:
    """`variables` are the fields that the path names, in the order in which one of `paths`, patterns
    of Lua's, captures their values; `query` and `body` are those that may come there.
    """
    named = list(dict.fromkeys(name for b in method.bindings for name in b.variables))
    variables = [_field(next(f for f in method.fields if f.name == name)) for name in named]
    others = [field for field in method.fields if field.name not in named]
    identity = () if policy.is_open(method) else IDENTITY_FIELDS
    taken = [_field(field) for field in others if field.name not in identity]
    takes_body = any(binding.has_body for binding in method.bindings)
    if takes_body and any(f.kind == "whole" for f in others if f.name not in identity):
        raise ValueError(f"{method.path}: the edge does not know numbers in a body yet")
    return {
        "is_open": policy.is_open(method),
        "takes_body": takes_body,
        "variables": variables,
        "paths": [_pattern(b.template) for b in method.bindings if b.variables],
        "query": [] if takes_body else taken,
        "body": taken if takes_body else [],
    }


def _field(field: Field) -> Lua:
    """`expected` is what is said of a value that is nothing of the kind."""
    described: dict[str, Lua] = {"name": field.name, "json_name": field.json_name}
    match field.kind:
        case "whole":
            # What the type holds; the rules are the service's to check.
            described["most"] = str(2**32 - 1 if field.most < 2**32 else 2**63 - 1)
            expected = f"must be a whole number from {field.least} to {field.most}"
        case "text":
            expected = "must be text"
        case "texts":
            described["is_list"] = True
            expected = "must be a list of texts"
    return {**described, "expected": f"{field.name} {expected}"}


def _pattern(template: str) -> str:
    """A pattern of Lua's for the paths of a template."""
    parts = []
    for part in template.split("/"):
        is_variable = part.startswith("{")
        parts.append(
            "([^/]+)" if is_variable else "".join(c if c.isalnum() else f"%{c}" for c in part)
        )
    return f"^{'/'.join(parts)}$"


def _answer(body: Json) -> str:
    return json.dumps(body, separators=(",", ":"))


def _lua(value: Lua) -> str:
    """A value as Lua writes it. Texts are ASCII, as `json.dumps` makes them."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"not printable ASCII: {value!r}")
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list():
            return "{" + ",".join(map(_lua, value)) + "}"
        case dict():
            return "{" + ",".join(f"[{_lua(k)}]={_lua(v)}" for k, v in value.items()) + "}"
