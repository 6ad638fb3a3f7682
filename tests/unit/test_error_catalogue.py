"""docs/errors.md says what the code says, and the code says nothing that is not declared."""

import ast
import json
from typing import Any

import protovalidate
import pytest
from starling.gateway.v1.account_service_pb2 import RegisterRequest
from starling.timeline.v1.timeline_service_pb2 import GetHomeTimelineRequest
from starling.tweet.v1.tweet_service_pb2 import PostTweetRequest

from docs import errors as page
from envoy.edge_errors import DOMAIN as EDGE_DOMAIN
from gateway.openapi import generate
from gateway.openapi.descriptors import compile_protos
from meshkit import errors
from meshkit.errors import StarlingError


@pytest.fixture(scope="module")
def declared() -> set[str]:
    """What the code declares, without what other tests of this run do."""
    return {
        f"{reason.domain}/{reason.name}"
        for reason in page.declared()
        if reason.domain != "test.starling"
    }


def test_the_page_is_what_the_code_gives() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render()


def test_every_domain_has_a_section(declared: set[str]) -> None:
    domains = {each.partition("/")[0] for each in declared}
    assert domains <= set(page.DOMAINS)
    assert set(page.DOMAINS) == domains | {EDGE_DOMAIN}


def test_raising_what_is_not_declared_fails() -> None:
    with pytest.raises(ValueError, match="not declared"):
        errors.NotFound("nowhere", reason="NO_SUCH_REASON")


def test_the_code_raises_only_declared_reasons(declared: set[str]) -> None:
    """Beyond the check at run time: also on lines that no test reaches."""
    kinds = {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, StarlingError)
    }
    names = {each.partition("/")[2] for each in declared}
    for package in page.PACKAGES:
        for path in sorted((page.ROOT / package).rglob("*.py")):
            for call in page.calls_in(path):
                name = getattr(call.func, "id", None) or getattr(call.func, "attr", "")
                for keyword in call.keywords if name in kinds else ():
                    if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant):
                        assert keyword.value.value in names, f"{path}:{call.lineno}"


def test_violations_reasons_are_those_the_code_names() -> None:
    named = page.named_violations()
    assert set(named) == set(page.VIOLATIONS), named


def test_the_rules_reasons_are_as_a_service_answers_them() -> None:
    protos = compile_protos(page.ROOT)
    wrong: list[tuple[Any, set[str]]] = [
        (
            PostTweetRequest(content="x" * 5000, media_ids=["!"] * 5),
            {"STRING_MAX_LEN", "REPEATED_MAX_ITEMS"},
        ),
        (PostTweetRequest(media_ids=["!"]), {"STRING_PATTERN"}),
        (
            GetHomeTimelineRequest(limit=0, top_k=51, cursor="x" * 300),
            {"STRING_MAX_LEN", "UINT32_GTE_LTE", "UINT32_LTE"},
        ),
        (RegisterRequest(username="ada_l", password="short"), {"STRING_MIN_LEN"}),
    ]
    for request, expected in wrong:
        found = {
            violation.proto.rule_id.replace(".", "_").upper()
            for violation in protovalidate.collect_violations(request)
        }
        assert expected <= found
        fields = protos.messages[request.DESCRIPTOR.full_name].fields
        assert found <= page.rule_reasons(fields)


def _infos(document: Any) -> set[tuple[int, str]]:
    """(HTTP status, domain/reason) of every example of an error in the document."""
    found = set()
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                named = answer.get("$ref", "").rpartition("/")[2]
                shared = document["components"]["responses"].get(named, answer)
                for info in page.error_infos(shared):
                    found.add((int(status), f"{info['domain']}/{info['reason']}"))
    return found


def test_the_api_document_names_only_declared_reasons_and_their_status() -> None:
    document = json.loads(generate.OUTPUT.read_text(encoding="utf-8"))
    known = {
        (page.HTTP_STATUS[each.kind.code], f"{each.domain}/{each.name}") for each in page.declared()
    }
    known |= {(each.status, f"{EDGE_DOMAIN}/{each.reason}") for each in page.refusals()}
    named = _infos(document)
    assert len(named) > 15
    assert named <= known


def test_a_call_names_every_reason_of_its_service(declared: set[str]) -> None:
    """Reasons of the public services appear in the API's document, but for those listed here."""
    not_of_the_api = {
        "graph.starling/USER_ID_IN_USE",  # only the gateway's own call can meet it
        "gateway.starling/PAGE_NOT_FOUND",  # of the explorer's files
        "gateway.starling/TOO_MANY_PASSWORDS",  # one of the reasons for a 429
        "graph.starling/USERNAME_TAKEN",  # the gateway answers its own
    }
    document = json.loads(generate.OUTPUT.read_text(encoding="utf-8"))
    named = {reason for _, reason in _infos(document)}
    of_services = {each for each in declared if not each.startswith("mesh.")}
    assert of_services - named == not_of_the_api
