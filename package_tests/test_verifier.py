"""The token verifier: issuers, required claims, dates, its cache, and scopes."""

import logging
import marshal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from masonite.routes import Route

from package_tests.project.app.middlewares.TokenMiddleware import TokenMiddleware as JWTAuthMiddleware
from package_tests.support.applications import EchoController, application
from package_tests.support.signing import Key
from package_tests.support.verifiers import A, B, StaticKeys, VerifierHarness, issuer
from package_tests.support.wsgi_client import request
from zuplo_origin.encoding import printable
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.cache import MAX_CLAIMS
from zuplo_origin.jwt.claims import has_scopes, scopes_of
from zuplo_origin.jwt.reasons import Reason, Rejected
from zuplo_origin.jwt.verifier import TokenVerifier
from zuplo_origin.observability.logs import AccessLog

# -- keys -------------------------------------------------------------------------------------------------------------


class RotatingKeys:
    """A key source whose keys are `found`, and `newer` once those were tried."""

    def __init__(self, found, newer=()):
        self.found, self.newer, self.tried = StaticKeys(*found), StaticKeys(*newer) if newer else None, []

    def find(self, kid, algorithm, tried=()):
        if not tried:
            return self.found.find(kid, algorithm)
        self.tried.append(tried)
        return self.newer.find(kid, algorithm) if self.newer else ()

    def generation(self):
        return 1


def reason_with(keys, token):
    try:
        TokenVerifier([issuer(A, keys)], lambda: 1_000_000.0).verify(token)
    except Rejected as rejected:
        return rejected.reason.value
    return None


CLAIMS = {"iss": A, "aud": "orders", "exp": 1_000_300}


@pytest.mark.parametrize("kid", ["k", None])
def test_token_is_accepted_if_any_of_the_keys_that_fit_has_signed_it(kid):
    old, new = Key("ES256", kid), Key("ES256", kid)
    keys = RotatingKeys([old, new])

    assert [reason_with(keys, key.token(CLAIMS)) for key in (old, new)] == [None, None]
    assert reason_with(keys, Key("ES256", kid).token(CLAIMS)) == "bad_signature" and len(keys.tried) == 1


def test_signature_is_checked_with_newer_keys_after_those_that_fit():
    old, new = Key("ES256", "k"), Key("ES256", "k")
    keys = RotatingKeys([old], [new])

    assert reason_with(keys, new.token(CLAIMS)) is None and len(keys.tried) == 1
    assert reason_with(keys, Key("ES256", "k").token(CLAIMS)) == "bad_signature"


def test_longest_token_is_a_setting():
    key = Key("ES256", "k")
    token = key.token(CLAIMS | {"groups": ["00000000-0000-0000-0000-000000000000"] * 240})
    assert 12_000 < len(token) < 14_000
    reasons = []
    for longest in (8192, len(token) - 1, len(token), 24576):
        verifier = TokenVerifier([issuer(A, StaticKeys(key))], lambda: 1_000_000.0, max_length=longest)
        try:
            verifier.verify(token)
            reasons.append(None)
        except Rejected as rejected:
            reasons.append(rejected.reason.value)
    assert reasons == ["too_large", "too_large", None, None]


# -- several issuers --------------------------------------------------------------------------------------------------


def test_token_is_accepted_from_each_issuer():
    harness = VerifierHarness()

    assert harness.reason(harness.a.token(harness.claims(A))) is None
    assert harness.reason(harness.b.token(harness.claims(B))) is None


def test_token_is_rejected_if_another_issuer_signed_it():
    harness = VerifierHarness()

    assert harness.reason(harness.a.token(harness.claims(B))) == "bad_signature"
    assert harness.reason(harness.b.token(harness.claims(A))) == "bad_signature"


def test_audience_algorithms_and_required_claims_are_those_of_the_issuer():
    harness = VerifierHarness()

    assert harness.reason(harness.a.token(harness.claims(A, aud="billing"))) == "wrong_audience"
    assert harness.reason(harness.b.token(harness.claims(B, aud="orders"))) == "wrong_audience"
    assert harness.reason(Key("RS256", "k").token(harness.claims(A))) == "algorithm_not_allowed"
    assert harness.reason(Key("RS256", "k").token(harness.claims(B))) == "unknown_key"
    assert harness.reason(harness.b.token(harness.claims(B, plan=None))) == "missing_claim"
    assert harness.reason(harness.a.token(harness.claims(A, plan="lead"))) is None


def test_unknown_issuer_causes_no_key_lookup():
    harness = VerifierHarness()

    assert harness.reason(harness.a.token(harness.claims(A, iss="https://evil.example"))) == "unknown_issuer"
    assert (harness.keys_a.looked_up, harness.keys_b.looked_up) == (0, 0)


@pytest.mark.parametrize("value", ["Gold", "gold ", "golden", "", ["Gold"], [["gold"]], {"gold": 1}, 1, True, None])
def test_required_claim_is_compared_as_a_whole(value):
    harness = VerifierHarness()

    assert harness.reason(harness.b.token(harness.claims(B) | {"plan": value})) == "claim_mismatch"


@pytest.mark.parametrize(
    ("required", "value", "fits"), [(1, 1, True), (1, True, False), (True, 1, False), (1, 1.0, False)]
)
def test_required_claim_is_compared_with_its_type(required, value, fits):
    harness = VerifierHarness(required={"n": required})

    assert harness.reason(harness.a.token(harness.claims(n=value))) == (None if fits else "claim_mismatch")


def test_rejection_has_the_kid_and_the_trusted_issuer():
    harness = VerifierHarness()
    with pytest.raises(Rejected) as known:
        harness.verifier.verify(Key("ES256", "k").token(harness.claims(A)))
    with pytest.raises(Rejected) as unknown:
        harness.verifier.verify(harness.a.token(harness.claims(A, iss="https://evil.example")))

    assert (known.value.issuer, known.value.kid) == (A, "k")
    assert (unknown.value.issuer, unknown.value.kid) == (None, None)


# -- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leeway", [0, 30, 300])
def test_dates_are_checked_with_the_leeway(leeway):
    harness = VerifierHarness(leeway=leeway)
    now = harness.clock.now

    def reason(**claims):
        return harness.reason(harness.a.token(harness.claims(**claims)))

    assert reason(exp=now - leeway) == "expired"
    assert reason(exp=now - leeway + 0.001) is None
    assert reason(nbf=now + leeway) is None
    assert reason(nbf=now + leeway + 0.001) == "not_yet_valid"
    assert reason(iat=now + leeway) is None
    assert reason(iat=now + leeway + 0.001) == "issued_in_future"
    assert reason(exp=2**53 - 1) is None
    assert reason(exp=2**53) == "invalid_claim"
    assert reason(iat=-(2**53) + 1) is None
    assert reason(iat=-(2**53)) == "invalid_claim"


def test_audience_is_optional_if_any_is_accepted_but_its_type_is_checked():
    harness = VerifierHarness(audiences=["*"])

    assert harness.reason(harness.a.token(harness.claims(aud=None))) is None
    assert harness.reason(harness.a.token(harness.claims(aud="anything"))) is None
    assert harness.reason(harness.a.token(harness.claims(aud=[]))) is None
    assert harness.reason(harness.a.token(harness.claims(aud=7))) == "invalid_claim"


# -- the cache --------------------------------------------------------------------------------------------------------


def test_cached_token_is_not_looked_up_again():
    harness = VerifierHarness()
    token = harness.a.token(harness.claims())
    first, second, third, fourth = (harness.verifier.verify(token) for _ in range(4))

    assert first == second == third == fourth and third is not fourth
    assert harness.keys_a.looked_up == 2


def test_claims_of_a_cached_token_are_copied_for_each_request():
    harness = VerifierHarness()
    token = harness.a.token(harness.claims(list=[1]))
    for _ in range(4):
        claims = harness.verifier.verify(token)
        assert claims["list"] == [1]
        claims["list"].append(2)


@pytest.mark.parametrize("size", [0, 1])
def test_cache_size_limits_the_cached_tokens(size):
    harness = VerifierHarness(cache_size=size)
    first, second = (harness.a.token(harness.claims(jti=str(n))) for n in range(2))
    for token in (first, first, second, second, second):
        harness.verifier.verify(token)
    assert harness.keys_a.looked_up == (5 if size == 0 else 4)

    harness.verifier.verify(first)
    assert harness.keys_a.looked_up == (6 if size == 0 else 5)


def test_cache_is_off_by_default():
    harness = VerifierHarness()
    verifier = TokenVerifier([issuer(A, harness.keys_a)], harness.clock)
    token = harness.a.token(harness.claims())
    for _ in range(3):
        verifier.verify(token)

    assert harness.keys_a.looked_up == 3


def test_token_with_large_claims_is_not_cached():
    harness = VerifierHarness()
    empty = len(marshal.dumps(harness.claims(padding="x" * 999))) - 999
    for size, times in ((MAX_CLAIMS, 2), (MAX_CLAIMS + 16, 3)):
        before = harness.keys_a.looked_up
        token = harness.a.token(harness.claims(padding="x" * (size - empty)))
        for _ in range(3):
            harness.verifier.verify(token)
        assert harness.keys_a.looked_up - before == times


def test_cached_token_leaves_the_cache_at_exp_and_expires_after_the_leeway():
    harness = VerifierHarness()
    token = harness.cached(harness.claims())
    harness.clock.pass_(299.5)
    harness.verifier.verify(token)
    assert harness.keys_a.looked_up == 2

    harness.clock.pass_(1)  # past exp, within the leeway
    harness.verifier.verify(token)
    assert harness.keys_a.looked_up == 3
    harness.clock.pass_(30)
    assert harness.reason(token) == "expired"


def test_dates_of_a_cached_token_are_checked_after_the_clock_was_set_back():
    harness = VerifierHarness()
    token = harness.cached(harness.claims(nbf=harness.clock.now, exp=harness.clock.now + 9999))
    harness.clock.pass_(-3600)

    assert harness.reason(token) == "not_yet_valid"


def test_key_rotation_invalidates_cached_tokens():
    harness = VerifierHarness()
    token = harness.cached(harness.claims())
    harness.keys_a.key_set, harness.keys_a.at = StaticKeys(Key("ES256", "k")).key_set, 2

    assert harness.reason(token) == "bad_signature"


def test_cached_token_is_not_used_without_keys():
    harness = VerifierHarness()
    token = harness.cached(harness.claims())
    harness.keys_a.gone = True

    with pytest.raises(KeysUnavailable):
        harness.verifier.verify(token)


def test_token_is_not_cached_if_its_key_is_withdrawn_during_verification():
    harness = VerifierHarness()
    token = harness.a.token(harness.claims())
    harness.verifier.verify(token)
    find = harness.keys_a.find

    def find_and_rotate(kid, algorithm):
        verifier = find(kid, algorithm)
        harness.keys_a.at = 2
        harness.keys_a.key_set = StaticKeys(Key("ES256", "other")).key_set
        return verifier

    harness.keys_a.find = find_and_rotate
    harness.verifier.verify(token)
    harness.keys_a.find = find

    assert harness.reason(token) == "unknown_key"


def test_rejected_token_is_not_cached():
    harness = VerifierHarness()
    token = harness.a.token(harness.claims(aud="x"))
    for _ in range(3):
        assert harness.reason(token) == "wrong_audience"

    assert harness.keys_a.looked_up == 3


def test_changed_text_of_a_cached_token_is_rejected():
    harness = VerifierHarness()
    token = harness.cached(harness.claims())

    for other in (token + "=", token + "A", token[:-1], f" {token}", token.swapcase(), "x" + token[1:]):
        assert harness.reason(other) is not None


def test_text_with_invalid_characters_is_malformed():
    harness = VerifierHarness()

    for text in ("\ud800", "\udcff.\udcff.\udcff", "é.é.é", "\0", "🙂.🙂.🙂"):
        assert harness.reason(text) == "malformed"


def run_in_threads(count, work):
    """Run `work(number)` in threads that begin together, and raise the first exception."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait(60)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_threads_share_the_cache():
    harness = VerifierHarness(cache_size=8)
    tokens = [harness.a.token(harness.claims(jti=str(n))) for n in range(16)]

    def verify(offset):
        numbers = [(n * 7 + offset) % 16 for n in range(200)]
        return [n for n in numbers if harness.verifier.verify(tokens[n])["jti"] != str(n)]

    assert run_in_threads(8, verify) == [[]] * 8
    assert len(harness.verifier._verified._cache) <= 8


class RecordingCache(dict):
    """A mapping that records whether two threads have used it at the same time."""

    def __init__(self):
        self.users, self.overlaps = 0, 0

    def _use(self, method, *arguments):
        self.users += 1
        self.overlaps += self.users > 1
        try:
            time.sleep(0.001)  # gives the other threads time to enter
            return method(self, *arguments)
        finally:
            self.users -= 1

    def __getitem__(self, key):
        return self._use(dict.__getitem__, key)

    def __setitem__(self, key, value):
        self._use(dict.__setitem__, key, value)


def test_cache_is_used_by_one_thread_at_a_time():
    harness = VerifierHarness(cache_size=8)
    recording = harness.verifier._verified._cache = RecordingCache()
    tokens = [harness.a.token(harness.claims(jti=str(n))) for n in range(4)]
    run_in_threads(8, lambda number: [harness.verifier.verify(tokens[(number + n) % 4]) for n in range(10)])

    assert recording.overlaps == 0
    assert 0 < len(recording) <= 4  # tokens whose hashes share a place may not all be kept


# -- scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": "a b:c  d"}, {"a", "b:c", "d"}),
        ({"scp": "a b"}, {"a", "b"}),
        ({"scp": ["a", "b c"]}, {"a", "b c"}),
        ({"scope": "a", "scp": ["b"]}, {"a", "b"}),
        ({"scope": ""}, set()),
        ({"scope": ["a", 1]}, {"a"}),
        ({"scope": {"a": 1}}, set()),
        ({"scope": None, "scp": None}, set()),
        ({"scp": [1, None, "a"]}, {"a"}),
        ({"scp": {"a": 1}}, set()),
        ({"scope": "a\tb"}, {"a\tb"}),
    ],
)
def test_scopes_of_a_token(claims, scopes):
    assert scopes_of(claims) == scopes
    assert has_scopes(claims, *scopes)
    assert not has_scopes(claims, *scopes, "more")


@pytest.fixture
def scoped(application, issuer):
    """A request to a route that requires two scopes, through the real guard."""
    made = globals()["application"](Route.get("/plain", EchoController.plain))
    made.make("middleware").add({"jwt": [JWTAuthMiddleware]})
    made.make("router").set(Route.get("/orders", EchoController.plain).middleware("jwt:read:orders,write:orders"))
    made.bind("guard", application.make("guard"))

    made.make("observers").append(AccessLog())

    def get(**claims):
        token = issuer.token(**claims)
        return request(made, "GET", "/orders", {"Authorization": f"Bearer {token}", "zp-rid": "r-1"})

    return get


def test_route_accepts_a_token_with_all_scopes(scoped):
    assert scoped(scope="read:orders write:orders").status == 200
    assert scoped(scp=["write:orders", "read:orders", "x"]).status == 200
    assert scoped(scope="read:orders", scp="write:orders").status == 200


@pytest.mark.parametrize(
    "scope", [None, "", "read:orders", "read:orders write:order", "read:orders,write:orders", "read write"]
)
def test_missing_scope_is_reported_in_the_response_and_the_log(scoped, scope, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    response = scoped(scope=scope)

    assert (response.status, response.json["error"]) == (403, "Insufficient scope")
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge and 'scope="read:orders write:orders"' in challenge
    assert "reason=insufficient_scope" in caplog.text


def test_scopes_of_cached_tokens_are_checked(application, issuer, scoped):
    for _ in range(4):
        bearer = {"Authorization": f"Bearer {issuer.token(scope='read:orders', iat=1)}"}
        assert request(application, "GET", "/protected", bearer).status == 200
        assert scoped(scope="read:orders", iat=1).status == 403


# -- responses and logs -----------------------------------------------------------------------------------------------


def test_rejection_is_logged_as_one_line_with_a_cleaned_kid(application, issuer, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    token = issuer.token(header={"kid": "a\nb\x1b[31m é" + "x" * 100})
    request(application, "GET", "/protected", {"Authorization": f"Bearer {token}", "zp-rid": "id-1\x7f; drop"})

    (record,) = [one for one in caplog.records if one.name == "zuplo_origin.access"]
    kid = "a?b?[31m??" + "x" * 54
    line = record.getMessage()
    assert line.startswith("request method=GET route=/protected status=401 ms=")
    assert line.endswith(f" reason=unknown_key issuer={issuer.name} kid={kid}")


@pytest.mark.parametrize(
    ("text", "cleaned"), [(None, "-"), ("", "-"), ("a b", "a?b"), ("x" * 99, "x" * 64), ("\r\n", "??")]
)
def test_printable_replaces_unprintable_characters(text, cleaned):
    assert printable(text) == cleaned


def test_unavailable_keys_are_reported_with_status_503(caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    harness = VerifierHarness()
    harness.keys_a.gone = True
    made = application(Route.get("/plain", EchoController.plain))
    made.make("middleware").add({"jwt": [JWTAuthMiddleware]})
    made.make("router").set(Route.get("/x", EchoController.plain).middleware("jwt"))
    from zuplo_origin.guard import Guard

    made.bind("guard", Guard(harness.verifier, "HTTP_AUTHORIZATION", "Bearer", "here"))
    made.make("observers").append(AccessLog())
    response = request(made, "GET", "/x", {"Authorization": f"Bearer {harness.a.token(harness.claims())}"})

    assert (response.status, response.json) == (503, {"error": "Signing keys unavailable"})
    assert response.headers["retry-after"] == "5" and "www-authenticate" not in response.headers
    assert response.headers["cache-control"] == "no-store"
    assert "reason=keys_unavailable issuer=x" in caplog.text


def test_unhandled_exception_in_a_rule_is_reported_with_status_500(application, issuer, caplog, monkeypatch):
    monkeypatch.setattr("zuplo_origin.jwt.claims.Audiences.accept", lambda self, audience: 1 / 0)
    response = request(application, "GET", "/protected", {"Authorization": f"Bearer {issuer.token(jti='500')}"})

    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert "ZeroDivisionError" in caplog.text


def test_every_reason_has_an_error_response_of_its_own():
    from zuplo_origin.guard import ERROR_RESPONSES

    assert set(ERROR_RESPONSES) == set(Reason)
    texts = [(error.error, error.details) for error in ERROR_RESPONSES.values()]
    assert len(set(texts)) == len(texts)
