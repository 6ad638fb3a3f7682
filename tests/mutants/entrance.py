"""Bugs where clients come in: accounts and tokens, the edge, identity, cursors, ids, events."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ACCOUNTS = "integration/test_gateway_accounts.py::"
_STRICT = "integration/test_envoy_strict.py::"
_TOKENS = "integration/test_envoy_tokens.py::"
_LIMITS = "integration/test_envoy_limits.py::"

ENTRANCE = [
    Mutant(
        "refresh-family-not-revoked",
        "gateway/refresh_tokens.py",
        "if not hmac.compare_digest(_hash(parts[1]), family.token_hash):\n"
        "            await self._store.revoke(family.family_id)\n",
        "if not hmac.compare_digest(_hash(parts[1]), family.token_hash):\n",
        (_ACCOUNTS + "test_a_refresh_token_works_once_and_its_reuse_ends_the_family",),
        "who stole a refresh token goes on using what it was traded for",
    ),
    Mutant(
        "refresh-token-never-rotates",
        "gateway/refresh_tokens.py",
        "return _spell(family.family_id, secret)",
        "return _spell(family.family_id, secrets.token_bytes(_SECRET_BYTES))",
        (_ACCOUNTS + "test_a_refresh_token_works_once_and_its_reuse_ends_the_family",),
        "a refreshed session cannot be refreshed again",
    ),
    Mutant(
        "anybody-signs-anybody-out",
        "gateway/refresh_tokens.py",
        "family.user_id == user_id and not family.revoked",
        "not family.revoked",
        (_ACCOUNTS + "test_signing_out_ends_ones_own_family_alone",),
        "signing out with another's refresh token ends their session",
    ),
    Mutant(
        "any-password-fits",
        "gateway/service.py",
        "if matches and user_id is not None else None",
        "if user_id is not None else None",
        (_ACCOUNTS + "test_bad_credentials_do_not_say_what_was_bad",),
        "everybody signs in as everybody",
    ),
    Mutant(
        "cursor-not-bound-to-its-reader",
        "meshkit/page_token.py",
        'struct.pack(">Hq", len(name), owner)',
        'struct.pack(">Hq", len(name), 0)',
        (
            "unit/test_meshkit_page_token.py::test_other_lists_readers_and_keys_are_refused",
            "integration/test_graph_edges.py::test_a_cursor_belongs_to_one_reader_and_one_list",
        ),
        "a cursor of one reader works for another",
    ),
    Mutant(
        "somebody-elses-id-accepted",
        "meshkit/identity.py",
        "if given is not None and given != caller.user_id:",
        "if False:",
        (
            "unit/test_meshkit_errors.py::test_the_identity_rule",
            "integration/test_tweet_service.py::test_who_calls_is_who_posts",
        ),
        "a call that names another user is done as one's own",
    ),
    Mutant(
        "ids-past-the-reservation",
        "meshkit/snowflake.py",
        "if ms > self._reserved_until_ms or",
        "if",
        ("unit/test_meshkit_snowflake.py::test_nothing_is_issued_past_the_reservation",),
        "two processes may make the same id after one was stopped for a while",
    ),
    Mutant(
        "acked-before-handled",
        "meshkit/consumer.py",
        "await handler(kind.FromString(message.data), meta)",
        "await message.ack()\n                await handler(kind.FromString(message.data), meta)",
        (
            "integration/test_meshkit_events.py"
            "::test_failures_come_again_and_end_in_the_dead_letters",
        ),
        "an event whose handling failed never comes again",
    ),
    Mutant(
        "no-rate-limit",
        "envoy/edge_filters.py",
        "filter_enforced=always,",
        "",
        (
            _LIMITS + "test_a_user_has_a_rate_and_a_burst_of_twice_that",
            _LIMITS + "test_password_attempts_of_an_address_are_few",
        ),
        "nothing is limited",
    ),
    Mutant(
        "identity-headers-from-clients",
        "envoy/edge_filters.py",
        '            _remove(prefix=_IDENTITY),\n            _remove(prefix="x-envoy-"),\n'
        '            _remove(prefix="x-forwarded-client-cert"),',
        '            _remove(prefix="x-envoy-"),\n'
        '            _remove(prefix="x-forwarded-client-cert"),',
        (_TOKENS + "test_an_open_call_carries_no_identity_whatever_token_it_has",),
        "a client says who it is in a header, and is believed",
    ),
    Mutant(
        "somebody-elses-id-passes-the-edge",
        "envoy/requests.lua",
        "if given ~= handle:headers():get(SUBJECT) then",
        "if false then",
        (_TOKENS + "test_nobody_elses_id_may_stand_anywhere",),
        "a call that names another user, where no service looks, is done as one's own",
    ),
    Mutant(
        "identity-in-one-spelling",
        "envoy/requests.py",
        "    names |= {other: name for name, other in IDENTITY_FIELDS.items()}\n",
        "",
        (_TOKENS + "test_nobody_elses_id_may_stand_anywhere",),
        "a userId in a body is nobody's business",
    ),
    Mutant(
        "header-that-holds-a-token",
        "envoy/requests.lua",
        "return signature_at and #authorization - signature_at == 85",
        "return true",
        (_TOKENS + "test_the_header_is_one_token_to_the_letter",),
        "a token with a tail, or after another scheme, is accepted",
    ),
    Mutant(
        "body-fields-in-the-query",
        "envoy/requests.py",
        '"query": [] if takes_body else taken,',
        '"query": taken,',
        (_STRICT + "test_a_wrong_value_is_a_400_that_names_the_field_and_its_limits",),
        "a password in the URL is taken, and ends in logs",
    ),
    Mutant(
        "name-given-twice",
        "envoy/requests.lua",
        "if seen[name] or (field and seen[field]) then",
        "if false then",
        (_STRICT + "test_a_name_given_twice_is_a_400_that_names_it",),
        "of a field given twice one value is dropped without a word",
    ),
    Mutant(
        "numbers-with-leading-zeros",
        "envoy/strict_json.lua",
        'match(text, "^-?[1-9]%d*()", at) or',
        'match(text, "^-?%d+()", at) or',
        (_STRICT + "test_json_that_is_none_is_a_400_that_says_where",),
        "what is no JSON is taken",
    ),
    Mutant(
        "tokens-for-others-accepted",
        "envoy/edge_filters.py",
        '"audiences": [spec.token.audience],',
        "",
        (_TOKENS + "test_a_token_must_be_the_gateways_ours_and_in_time",),
        "a token made for another service opens this one",
    ),
]
