"""The error responses of each call: google.rpc.Status in JSON, by HTTP status, with examples.

Which a call may give is read from its comment ("Errors: NOT_FOUND TWEET_NOT_FOUND; …") and from rules that
hold for all calls.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import NamedTuple

from gateway.openapi import notes
from gateway.openapi.descriptors import Service
from gateway.openapi.status import (
    CODES,
    MESH_DOMAIN,
    SHARED,
    Json,
    SharedFailure,
    bad_request,
    content,
    error_info,
    invalid_field,
    status_json,
)

_ERRORS = re.compile(r"\s*Errors: (.*?)\.(?=\s|$)", re.DOTALL)
_ERROR = re.compile(r"^([A-Z_]+) ([A-Z_]+)\b[,]?\s*(.*)$", re.DOTALL)
_CURSOR = "INVALID_ARGUMENT INVALID_CURSOR"
_AS = re.compile(r"^as (\w+)$")


class Failure(NamedTuple):
    """One way to be refused: gRPC code, reason with its domain, and in which case ("" where the reason says
    it)."""

    code: str
    reason: str
    domain: str
    case: str


def declared(comment: str, service: Service) -> list[Failure]:
    """The failures a method's comment names; "as OtherMethod" refers to one of the same service."""
    clause = _ERRORS.search(comment)
    if clause is None:
        return []
    other = _AS.match(clause[1])
    if other is not None:
        return declared(next(m for m in service.methods if m.name == other[1]).comment, service)
    failures = []
    for part in clause[1].split(";"):
        if part.strip() == _CURSOR:
            # A violation of the field, rather than a reason of the call.
            continue
        found = _ERROR.match(part.strip())
        if found is None or found[1] not in CODES:
            raise ValueError(f"not of the form CODE REASON: {part.strip()!r}")
        domain = notes.REASONS[found[2]].domain or service.domain
        failures.append(Failure(found[1], found[2], domain, found[3]))
    return failures


def of_cursor() -> Failure:
    """What every paged list may answer."""
    case = "when `cursor` is not one that this list gave this reader"
    return Failure("INVALID_ARGUMENT", "INVALID_CURSOR", MESH_DOMAIN, case)


def without_errors(comment: str) -> str:
    """A comment without its clause of errors."""
    return _ERRORS.sub("", comment).strip()


def responses(
    failures: list[Failure],
    fields: Collection[str],
    *,
    secured: bool,
    has_body: bool,
    prose: Callable[[str], str],
) -> Json:
    """The error responses of one call, by HTTP status: those declared, and those all calls share.

    `fields` are the names of the request's fields: the example of a wrong one is of one of them.
    """
    by_status: dict[int, list[Failure]] = defaultdict(list)
    for failure in failures:
        by_status[CODES[failure.code][1]].append(failure)
    shared = {400: "BadRequest", 429: "TooManyRequests", 503: "Unavailable", 504: "TooLate"}
    if secured:
        shared |= {401: "Unauthenticated", 403: "Forbidden"}
    if has_body:
        shared |= {413: "BodyTooLarge", 415: "WrongContentType"}
    answers: Json = {}
    for status in sorted({*shared, *by_status}):
        if status not in by_status:
            answers[str(status)] = {"$ref": f"#/components/responses/{shared[status]}"}
            continue
        general = SHARED[shared[status]] if status in shared else None
        if general is not None and general.name in {each.reason for each in by_status[status]}:
            general = None
        if general is not None and status == HTTPStatus.BAD_REQUEST:
            field = next(name for name in notes.WRONG_FIELDS if name in fields)
            general = general._replace(example=invalid_field(field))
        answers[str(status)] = _response(status, by_status[status], general, prose)
    return answers


def _response(
    status: int,
    failures: list[Failure],
    general: SharedFailure | None,
    prose: Callable[[str], str],
) -> Json:
    lines = [f"- `{failure.reason}` {prose(failure.case)}".rstrip() for failure in failures]
    examples = {failure.reason: {"value": _example(failure)} for failure in failures}
    if general is not None:
        lines.append(f"- `{general.name}`: {general.description}")
        examples[general.name] = {"value": general.example}
    text = f"{HTTPStatus(status).phrase}. Reasons:\n\n" + "\n".join(lines)
    return {"description": text, "content": content(examples)}


def _example(failure: Failure) -> Json:
    if failure.reason == "INVALID_CURSOR":
        return invalid_field("cursor")
    note = notes.REASONS[failure.reason]
    info = error_info(failure.reason, failure.domain, note.metadata)
    wrong = [bad_request(*note.wrong, failure.reason)] if note.wrong else []
    return status_json(failure.code, note.message, info, *wrong)
