"""Properties of tokens, requests and key sets: any change and any input has one of the documented outcomes."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from package_tests.support.corpus import resigned
from package_tests.support.signing import b64, unb64
from package_tests.support.verifiers import VerifierHarness
from package_tests.support.wsgi_client import call, environ
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.jwks.failures import BadKeySet
from zuplo_origin.jwks.keys import KeySet, parse_key_set
from zuplo_origin.jwt.reasons import Rejected

HARNESS = VerifierHarness(cache_size=4, required={"plan": "gold"})
CLAIMS = HARNESS.claims(sub="user-1", jti="1", scope="a b", plan="gold")
GOOD = HARNESS.a.token(CLAIMS)
STATUSES = {(error.status, error.error) for error in ERROR_RESPONSES.values()}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
often = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
names = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf", "scope", "scp", "plan", "x"])
likely_values = st.sampled_from(
    ["orders", ["orders"], ["other", "orders"], ["orders", 1], "other", [], "gold", "Gold", ["gold"], 1, 1.5, True]
    + [
        None,
        {},
        "",
        HARNESS.clock.now - 31,
        HARNESS.clock.now + 31,
        HARNESS.clock.now,
        2**53,
        -(2**53),
        "https://a.example",
    ]
)
members = st.sampled_from(["alg", "typ", "kid", "crit", "cty", "jwk", "jku", "x5u", "x5c", "zip", "b64", "x"])


def is_accepted(token):
    """Return whether `token` is accepted. Any exception but `Rejected` fails the test."""
    try:
        HARNESS.verifier.verify(token)
    except Rejected as rejected:
        assert rejected.reason in ERROR_RESPONSES
        return False
    return True


def test_unchanged_token_is_accepted():
    assert is_accepted(GOOD)


@often
@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_token_with_a_changed_character_is_rejected(place, character):
    changed = GOOD[:place] + character + GOOD[place + 1 :]

    assert is_accepted(changed) == (changed == GOOD)


@often
@given(st.integers(0, len(GOOD)), st.text(min_size=1, max_size=5))
def test_token_with_inserted_text_is_rejected(place, more):
    assert not is_accepted(GOOD[:place] + more + GOOD[place:])


@often
@given(st.integers(0, len(GOOD) - 1), st.integers(1, len(GOOD)))
def test_token_with_removed_text_is_rejected(start, length):
    assert not is_accepted(GOOD[:start] + GOOD[start + length :])


@often
@given(st.integers(0, 2), st.data())
def test_token_with_a_flipped_bit_is_rejected(segment, data):
    segments = GOOD.split(".")
    raw = bytearray(unb64(segments[segment]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    segments[segment] = b64(bytes(raw))

    assert not is_accepted(".".join(segments))


def is_acceptable(claims):
    """Return whether the claims are acceptable: the documented rules, written a second time."""

    def is_date(value):
        return type(value) in (int, float) and abs(value) < 2**53

    now, leeway, audience = HARNESS.clock.now, 30, claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    return (
        claims.get("iss") == "https://a.example"
        and is_date(claims.get("exp"))
        and now < claims["exp"] + leeway
        and all(is_date(claims[name]) and claims[name] <= now + leeway for name in ("nbf", "iat") if name in claims)
        and all(isinstance(each, str) for each in audiences)
        and "orders" in audiences
        and all(isinstance(claims[name], str) for name in ("sub", "jti") if name in claims)
        and "cnf" not in claims
        and (claims.get("plan") == "gold" or (isinstance(claims.get("plan"), list) and "gold" in claims["plan"]))
    )


@often
@given(st.dictionaries(names, likely_values | json_values, max_size=3), st.sets(names, max_size=2))
def test_claims_are_accepted_exactly_if_they_are_acceptable(changed, removed):
    claims = {name: value for name, value in (CLAIMS | changed).items() if name not in removed}
    token = HARNESS.a.token(claims)

    assert is_accepted(token) == is_acceptable(claims)
    if is_acceptable(claims):
        assert HARNESS.verifier.verify(token) == claims


@often
@given(names, likely_values | json_values)
def test_one_changed_claim_is_accepted_exactly_if_it_is_acceptable(name, value):
    claims = CLAIMS | {name: value}

    assert is_accepted(HARNESS.a.token(claims)) == is_acceptable(claims)


@often
@given(names, st.sampled_from(["1e999", "-1e999", "[1e400]", '{"x": [-1e309]}']))
def test_number_that_is_too_large_for_a_float_is_rejected_in_any_claim(name, literal):
    raw = json.dumps(CLAIMS | {name: "PLACE"}).replace('"PLACE"', literal)

    assert not is_accepted(HARNESS.a.token(raw.encode()))


@often
@given(members, json_values)
def test_header_is_accepted_exactly_if_it_is_acceptable(name, value):
    header = {"alg": "ES256", "typ": "JWT", "kid": "k"} | {name: value}
    types = ("jwt", "at+jwt", "application/at+jwt")
    acceptable = (
        header["alg"] == "ES256"
        and header["kid"] == "k"
        and isinstance(header["typ"], str)
        and header["typ"].lower() in types
        and "crit" not in header
    )

    assert is_accepted(resigned(HARNESS.a, CLAIMS, header)) == acceptable


@often
@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=80))
def test_token_with_random_segments_is_rejected(head, body, signature):
    assert not is_accepted(f"{b64(head)}.{b64(body)}.{b64(signature)}")


@often
@given(st.text(max_size=300))
def test_random_text_is_rejected(text):
    assert not is_accepted(text)


@pytest.fixture(scope="module")
def quiet():
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@often
@given(value=st.binary(max_size=300) | st.just(GOOD.encode()), prefix=st.sampled_from([b"", b"Bearer ", b"bearer\t"]))
def test_random_header_gets_a_documented_error_response(application, quiet, value, prefix):
    made = environ("GET", "/protected")
    made["HTTP_AUTHORIZATION"] = (prefix + value).decode("latin-1")

    response = call(application, made)

    assert (response.status, response.json["error"]) in STATUSES


@often
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PUT", "x", ""]),
    path=st.text(max_size=60).map(lambda text: f"/{text}".encode().decode("latin-1")) | st.just("/protected"),
    query=st.text(max_size=60),
    headers=st.dictionaries(st.from_regex(r"[A-Za-z_-]{1,20}", fullmatch=True), st.text(max_size=40), max_size=5),
    body=st.binary(max_size=60),
)
def test_random_request_gets_a_documented_status(application, quiet, method, path, query, headers, body):
    made = environ(method, "/", headers, body)
    made["PATH_INFO"], made["QUERY_STRING"] = path, query

    assert call(application, made).status in (200, 204, 400, 401, 404, 405)


@often
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "crv", "n", "e", "x", "y", "d", "kid", "alg", "use", "key_ops", "k"]), json_values
        ),
        max_size=4,
    )
)
def test_random_key_set_is_parsed_or_rejected(entries):
    try:
        found = parse_key_set(json.dumps({"keys": entries}).encode(), frozenset({"ES256", "RS256", "EdDSA"}))
    except BadKeySet:
        return
    assert isinstance(found, KeySet)


@often
@given(st.binary(max_size=300))
def test_random_bytes_are_rejected_as_a_key_set(body):
    try:
        parse_key_set(body, frozenset({"ES256"}))
    except BadKeySet:
        return
    pytest.fail("random bytes were parsed as a key set")
