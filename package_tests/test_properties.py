"""Properties: whatever is changed, and whatever is sent, the answer is one of the table."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from package_tests.support.signing import b64, unb64
from package_tests.support.wsgi_client import call, environ
from package_tests.test_verifier import World
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.jwks.keys import BadKeySet, KeySet, parse_key_set
from zuplo_origin.jwt.reasons import Reason, Rejected

WORLD = World(cache_size=4)
GOOD = WORLD.a.token(WORLD.claims(sub="user-1", jti="1", scope="a b"))
STATUSES = {(answer.status, answer.error) for answer in ERROR_RESPONSES.values()}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
often = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
registered = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf", "scope", "scp", "x"])
members = st.sampled_from(["alg", "typ", "kid", "crit", "cty", "jwk", "jku", "x5u", "x5c", "zip", "b64", "x"])


def let_in(token):
    """Whether `token` passes; anything but a refusal is an error."""
    try:
        WORLD.verifier.verify(token)
    except Rejected as refused:
        assert refused.reason in ERROR_RESPONSES
        return False
    return True


def test_the_token_itself_is_let_in():
    assert let_in(GOOD)


@often
@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_any_other_character_anywhere_is_refused(place, character):
    changed = GOOD[:place] + character + GOOD[place + 1 :]

    assert let_in(changed) == (changed == GOOD)


@often
@given(st.integers(0, len(GOOD)), st.text(min_size=1, max_size=5))
def test_anything_put_in_anywhere_is_refused(place, more):
    assert not let_in(GOOD[:place] + more + GOOD[place:])


@often
@given(st.integers(0, len(GOOD) - 1), st.integers(1, len(GOOD)))
def test_anything_taken_out_is_refused(start, length):
    assert not let_in(GOOD[:start] + GOOD[start + length :])


@often
@given(st.integers(0, 2), st.data())
def test_any_bit_flipped_under_the_encoding_is_refused(segment, data):
    segments = GOOD.split(".")
    raw = bytearray(unb64(segments[segment]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    segments[segment] = b64(bytes(raw))

    assert not let_in(".".join(segments))


@often
@given(registered, json_values)
def test_any_value_of_any_claim_is_let_in_or_refused(name, value):
    token = WORLD.a.token(WORLD.claims() | {name: value})
    if let_in(token):
        assert WORLD.verifier.verify(token)[name] == value


@often
@given(members, json_values)
def test_any_value_of_any_header_member_is_let_in_or_refused(name, value):
    key = WORLD.a
    header = {"alg": "ES256", "typ": "JWT", "kid": "k"} | {name: value}
    from package_tests.support.corpus import resigned

    passed = let_in(resigned(key, WORLD.claims(), header))
    if name in ("alg", "crit") and value != "ES256":
        assert not passed


@often
@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=80))
def test_any_bytes_in_the_segments_are_refused(head, body, signature):
    assert not let_in(f"{b64(head)}.{b64(body)}.{b64(signature)}")


@often
@given(st.text(max_size=300))
def test_any_text_is_refused(text):
    assert not let_in(text)


@pytest.fixture(scope="module")
def quiet():
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@often
@given(value=st.binary(max_size=300) | st.just(GOOD.encode()), prefix=st.sampled_from([b"", b"Bearer ", b"bearer\t"]))
def test_any_bytes_in_the_header_get_an_answer_of_the_table(application, quiet, value, prefix):
    made = environ("GET", "/protected")
    made["HTTP_AUTHORIZATION"] = (prefix + value).decode("latin-1")

    answer = call(application, made)

    assert (answer.status, answer.json["error"]) in STATUSES


@often
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PUT", "x", ""]),
    path=st.text(max_size=60).map(lambda text: f"/{text}".encode().decode("latin-1")) | st.just("/protected"),
    query=st.text(max_size=60),
    headers=st.dictionaries(st.from_regex(r"[A-Za-z_-]{1,20}", fullmatch=True), st.text(max_size=40), max_size=5),
    body=st.binary(max_size=60),
)
def test_any_request_gets_an_answer_and_none_is_a_mistake(application, quiet, method, path, query, headers, body):
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
def test_any_key_set_is_taken_or_refused(entries):
    import json

    try:
        found = parse_key_set(json.dumps({"keys": entries}).encode(), frozenset({"ES256", "RS256", "EdDSA"}))
    except BadKeySet:
        return
    assert isinstance(found, KeySet)


@often
@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_set_or_refused(body):
    try:
        parse_key_set(body, frozenset({"ES256"}))
    except BadKeySet:
        return
    pytest.fail("random bytes were taken for keys")


def test_the_answers_of_the_table_are_those_of_the_reasons():
    assert len(STATUSES) <= len(Reason)
