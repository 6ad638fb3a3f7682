"""Writes errors.md, the catalogue of reasons, from the code: `python -m docs.errors [--check]`.

With --check nothing is written; the exit status is 1 when the page is not what the code gives.
"""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc

from envoy import edge_errors
from gateway.openapi import generate
from gateway.openapi.descriptors import Field, compile_protos
from meshkit.errors import Reason, catalogue

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("errors.md")
PACKAGES = ("meshkit", "gateway", "graph_svc", "tweet_svc", "timeline_svc")

# As the edge translates them (Envoy's convert_grpc_status).
HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
DOMAINS = {
    "edge.starling": "What the edge refuses before a service hears of it.",
    "gateway.starling": "Accounts, tokens and documentation.",
    "graph.starling": "Users and follows.",
    "tweet.starling": "Tweets, likes and retweets.",
    "timeline.starling": "Home timelines and user timelines.",
    "mesh.starling": "What any service may answer.",
}
# Reasons of a field violation that code names; those of the protos' rules are derived from them.
VIOLATIONS = {
    "CONTROL_CHARACTER": "The text holds a control character.",
    "INVALID_CURSOR": "The cursor was not given to this reader by this list, or was changed.",
    "MALFORMED": "The edge cannot read the value; the field is `body` where the JSON itself is wrong, and "
    "`request` where the HTTP is.",
    "TOO_LONG": "The text is too long after trimming and normalising.",
    "TOO_SHORT": "The text is too short after trimming and normalising.",
}

INTRODUCTION = """\
# Errors

Generated from the code by `python -m docs.errors`; a test holds them together.

Every error is a `google.rpc.Status`, over REST as JSON: `{"code", "message", "details"}`. Its `details` hold
an `ErrorInfo` with the `reason` and `domain` below, which programs can rely on; a `BadRequest` that names the
fields where some are wrong; a `RetryInfo` where trying again later helps (and then `Retry-After` over REST).
Messages are for people, and may change.
"""


def declared() -> list[Reason]:
    """Every reason that any module of the services declares, by domain and name."""
    for package in PACKAGES:
        path = [str(ROOT / package)]
        for module in pkgutil.walk_packages(path, f"{package}."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
    return catalogue()


def refusals() -> list[edge_errors.Refusal]:
    """What the edge answers itself, in its own domain, by HTTP status."""
    all_ = [each for each in vars(edge_errors).values() if isinstance(each, edge_errors.Refusal)]
    found = [each for each in all_ if each.domain == edge_errors.DOMAIN]
    # A general refusal's message stands for its variants, such as one with the filter's own words.
    unique = {(each.status, each.reason): each for each in (*found, *edge_errors.REFUSALS)}
    return [unique[key] for key in sorted(unique)]


def rule_reasons(fields: Iterable[Field]) -> set[str]:
    """The violations' reasons that the protos' rules for `fields` can give: STRING_MAX_LEN and so on."""
    found = set()
    for field in fields:
        for kind, rules in field.rules.ListFields():
            names = [name.name for name, _ in rules.ListFields()]
            if kind.name == "repeated" and "items" in names:
                names.remove("items")
                items = rules.items.ListFields()[0]
                found |= {f"{items[0].name}_{rule.name}" for rule, _ in items[1].ListFields()}
            if {"gte", "lte"} <= set(names):
                names = ["gte_lte", *(name for name in names if name not in ("gte", "lte"))]
            found |= {f"{kind.name}_{name}" for name in names}
    return {name.upper() for name in found}


def named_violations() -> dict[str, str]:
    """Reasons of field violations as the sources spell them, each with a place that does.

    A name in an expression that is not a literal, such as `USER_NOT_FOUND.name`, is not among them.
    """
    found = {edge_errors.MALFORMED.violation: "envoy/edge_errors.py"}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "openapi" in path.parts:
                continue
            for call in calls_in(path):
                for name in _violation_names(call):
                    found[name] = f"{path.relative_to(ROOT)}:{call.lineno}"
    return found


def render() -> str:
    """The page's text."""
    reasons = declared()
    called = _callers()
    lines = [INTRODUCTION]
    for domain, about in DOMAINS.items():
        lines += [f"## {domain}", "", about, ""]
        if domain == edge_errors.DOMAIN:
            lines += _edge_table()
        else:
            lines += _table([each for each in reasons if each.domain == domain], called)
        lines.append("")
    lines += _violations_table()
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it. Gives the exit status."""
    text = render()
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print("docs/errors.md is not what the code gives: run python -m docs.errors", file=sys.stderr)
    return 1


def _table(reasons: list[Reason], called: dict[str, list[str]]) -> list[str]:
    rows = ["| reason | code | HTTP | meaning | calls |", "|---|---|---|---|---|"]
    for each in reasons:
        code = each.kind.code
        calls = ", ".join(f"`{call}`" for call in called.get(f"{each.domain}/{each.name}", ()))
        rows.append(
            f"| `{each.name}` | {code.name} | {HTTP_STATUS[code]} | {each.meaning} | {calls} |"
        )
    return rows


def _edge_table() -> list[str]:
    codes = {code.value[0]: code.name for code in grpc.StatusCode}
    rows = ["| reason | code | HTTP | message |", "|---|---|---|---|"]
    for each in refusals():
        # Markdown takes angle brackets for HTML.
        message = each.message.replace("<", "&lt;").replace(">", "&gt;")
        rows.append(f"| `{each.reason}` | {codes[each.code]} | {each.status} | {message} |")
    return rows


def _violations_table() -> list[str]:
    protos = compile_protos(ROOT)
    requests = {method.request for service in protos.services for method in service.methods}
    rules = rule_reasons(field for name in requests for field in protos.messages[name].fields)
    return [
        "## Reasons of a field violation",
        "",
        "Each violation in a `BadRequest` names its field, what is wrong, and a reason:",
        "",
        "| reason | meaning |",
        "|---|---|",
        *(f"| `{name}` | {VIOLATIONS[name]} |" for name in sorted(VIOLATIONS)),
        "",
        "or the rule of the protos that was broken: "
        + ", ".join(f"`{name}`" for name in sorted(rules))
        + "; or, where a whole call was refused for one field, the call's own reason.",
    ]


def _callers() -> dict[str, list[str]]:
    """The REST calls whose document names a reason in an example, by "domain/REASON"."""
    document = json.loads(generate.OUTPUT.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = defaultdict(list)
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            for info in error_infos(operation["responses"]):
                call, key = f"{verb.upper()} {path}", f"{info['domain']}/{info['reason']}"
                if call not in found[key] and info["reason"] != "INVALID_FIELD":
                    found[key].append(call)
    return found


def error_infos(node: Any) -> Iterator[dict[str, str]]:
    """Every ErrorInfo among the examples below a node of the API's document."""
    if isinstance(node, dict):
        if str(node.get("@type")).endswith("ErrorInfo"):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from error_infos(each)


def calls_in(path: Path) -> Iterator[ast.Call]:
    """Every call in a source file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def _violation_names(call: ast.Call) -> Iterator[str]:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = getattr(getattr(function, "value", None), "id", "")
    if name != "FieldViolation" and (owner, name) != ("InvalidArgument", "field"):
        return
    given = [*call.args[2:3], *(each.value for each in call.keywords if each.arg == "reason")]
    for expression in given:
        branches = (
            [expression.body, expression.orelse]
            if isinstance(expression, ast.IfExp)
            else [expression]
        )
        for branch in branches:
            if isinstance(branch, ast.Constant) and isinstance(branch.value, str) and branch.value:
                yield branch.value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
