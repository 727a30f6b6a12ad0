"""The verifier: several issuers, required claims, scopes, and what it remembers."""

import json
import logging
import marshal
import threading

import pytest
from masonite.routes import Route

from package_tests.project.app.middlewares.TokenMiddleware import TokenMiddleware as JWTAuthMiddleware
from package_tests.support.applications import EchoController, application
from package_tests.support.clock import Clock
from package_tests.support.signing import Key
from package_tests.support.wsgi_client import request
from zuplo_origin.encoding import printable
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwks.keys import ALGORITHMS, parse_key_set
from zuplo_origin.jwt.cache import MAX_CLAIMS
from zuplo_origin.jwt.claims import Audiences, has_scopes, scopes_of
from zuplo_origin.jwt.reasons import Reason, Rejected
from zuplo_origin.jwt.verifier import Issuer, TokenVerifier
from zuplo_origin.observability.logs import AccessLog

A, B = "https://a.example", "https://b.example"


class Keys:
    """Keys that are at hand. `looked_up` counts how often one was asked for, each check of a signature too."""

    def __init__(self, *keys):
        self.key_set = parse_key_set(json.dumps({"keys": [key.jwk() for key in keys]}).encode(), frozenset(ALGORITHMS))
        self.at, self.looked_up, self.gone = 1, 0, False

    def find(self, kid, algorithm):
        self.looked_up += 1
        if self.gone:
            raise KeysUnavailable("x", 5)
        return self.key_set.find(kid, algorithm)

    def generation(self):
        return None if self.gone else self.at


def issuer(name, keys, algorithms=("ES256",), audiences=("orders",), required=None, leeway=30):
    return Issuer(name, frozenset(algorithms), Audiences.of(audiences), required or {}, leeway, keys)


class World:
    """Two issuers, each with a key of its own under one name, and a clock."""

    def __init__(self, cache_size=16, **options):
        self.clock = Clock(1_000_000.0)
        self.a, self.b = Key("ES256", "k"), Key("ES256", "k")
        self.keys_a, self.keys_b = Keys(self.a), Keys(self.b)
        issuers = [
            issuer(A, self.keys_a, **options),
            issuer(B, self.keys_b, algorithms=("ES256", "RS256"), audiences=("billing",), required={"plan": "gold"}),
        ]
        self.verifier = TokenVerifier(issuers, self.clock, cache_size)

    def claims(self, name=A, **claims):
        usual = {"iss": name, "aud": "orders" if name == A else "billing", "exp": self.clock.now + 300}
        usual |= {"plan": "gold"} if name == B else {}
        return {key: value for key, value in (usual | claims).items() if value is not None}

    def remembered(self, claims):
        """A token that is remembered."""
        token = self.a.token(claims)
        for _ in range(2):
            self.verifier.verify(token)
        assert self.verifier._verified.get(token)
        return token

    def reason(self, token):
        """Why `token` is refused; `None` where it is let in."""
        try:
            self.verifier.verify(token)
        except Rejected as refused:
            return refused.reason.value
        return None


# -- several issuers --------------------------------------------------------------------------------------------------


def test_each_issuer_signs_for_itself():
    w = World()

    assert w.reason(w.a.token(w.claims(A))) is None
    assert w.reason(w.b.token(w.claims(B))) is None


def test_one_issuer_never_signs_for_another():
    w = World()

    assert w.reason(w.a.token(w.claims(B))) == "bad_signature"
    assert w.reason(w.b.token(w.claims(A))) == "bad_signature"


def test_each_issuer_has_its_own_audience_algorithms_and_required_claims():
    w = World()

    assert w.reason(w.a.token(w.claims(A, aud="billing"))) == "wrong_audience"
    assert w.reason(w.b.token(w.claims(B, aud="orders"))) == "wrong_audience"
    assert w.reason(Key("RS256", "k").token(w.claims(A))) == "algorithm_not_allowed"
    assert w.reason(Key("RS256", "k").token(w.claims(B))) == "unknown_key"
    assert w.reason(w.b.token(w.claims(B, plan=None))) == "missing_claim"
    assert w.reason(w.a.token(w.claims(A, plan="lead"))) is None


def test_an_unknown_issuer_costs_no_look_up():
    w = World()

    assert w.reason(w.a.token(w.claims(A, iss="https://evil.example"))) == "unknown_issuer"
    assert (w.keys_a.looked_up, w.keys_b.looked_up) == (0, 0)


@pytest.mark.parametrize("value", ["Gold", "gold ", "golden", "", ["gold"], {"gold": 1}, 1, True, None])
def test_a_required_claim_holds_its_value_whole_and_of_its_type(value):
    w = World()

    assert w.reason(w.b.token(w.claims(B) | {"plan": value})) == "claim_mismatch"


@pytest.mark.parametrize(
    ("required", "value", "fits"), [(1, 1, True), (1, True, False), (True, 1, False), (1, 1.0, False)]
)
def test_required_values_of_other_types_are_compared_with_their_type(required, value, fits):
    w = World(required={"n": required})

    assert w.reason(w.a.token(w.claims(n=value))) == (None if fits else "claim_mismatch")


def test_a_refusal_carries_the_issuer_where_it_is_known_and_the_kid():
    w = World()
    with pytest.raises(Rejected) as known:
        w.verifier.verify(Key("ES256", "k").token(w.claims(A)))
    with pytest.raises(Rejected) as unknown:
        w.verifier.verify(w.a.token(w.claims(A, iss="https://evil.example")))

    assert (known.value.issuer, known.value.kid) == (A, "k")
    assert (unknown.value.issuer, unknown.value.kid) == (None, None)


# -- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leeway", [0, 30, 300])
def test_dates_to_the_second(leeway):
    w = World(leeway=leeway)
    now = w.clock.now

    def reason(**claims):
        return w.reason(w.a.token(w.claims(**claims)))

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


def test_without_an_audience_to_check_none_is_needed_but_a_wrong_type_is_wrong():
    w = World(audiences=["*"])

    assert w.reason(w.a.token(w.claims(aud=None))) is None
    assert w.reason(w.a.token(w.claims(aud="anything"))) is None
    assert w.reason(w.a.token(w.claims(aud=[]))) is None
    assert w.reason(w.a.token(w.claims(aud=7))) == "invalid_claim"


# -- what is remembered -----------------------------------------------------------------------------------------------


def test_a_token_that_passed_is_not_checked_again():
    w = World()
    token = w.a.token(w.claims())
    once, again, remembered, still = (w.verifier.verify(token) for _ in range(4))

    assert once == again == remembered == still and remembered is not still
    assert w.keys_a.looked_up == 2


def test_the_claims_of_one_request_cannot_be_changed_by_another():
    w = World()
    token = w.a.token(w.claims(list=[1]))
    for _ in range(4):
        claims = w.verifier.verify(token)
        assert claims["list"] == [1]
        claims["list"].append(2)


@pytest.mark.parametrize("size", [0, 1])
def test_the_size_bounds_what_is_remembered(size):
    w = World(cache_size=size)
    first, second = (w.a.token(w.claims(jti=str(n))) for n in range(2))
    for token in (first, first, second, second, second):
        w.verifier.verify(token)
    assert w.keys_a.looked_up == (5 if size == 0 else 4)

    w.verifier.verify(first)
    assert w.keys_a.looked_up == (6 if size == 0 else 5)


def test_nothing_is_remembered_unless_told():
    w = World()
    verifier = TokenVerifier([issuer(A, w.keys_a)], w.clock)
    token = w.a.token(w.claims())
    for _ in range(3):
        verifier.verify(token)

    assert w.keys_a.looked_up == 3


def test_large_tokens_are_not_remembered():
    w = World()
    empty = len(marshal.dumps(w.claims(padding="x" * 999))) - 999
    for size, times in ((MAX_CLAIMS, 2), (MAX_CLAIMS + 16, 3)):
        before = w.keys_a.looked_up
        token = w.a.token(w.claims(padding="x" * (size - empty)))
        for _ in range(3):
            w.verifier.verify(token)
        assert w.keys_a.looked_up - before == times


def test_a_remembered_token_is_gone_at_its_own_exp_and_expires_like_any_other():
    w = World()
    token = w.remembered(w.claims())
    w.clock.pass_(299.5)
    w.verifier.verify(token)
    assert w.keys_a.looked_up == 2

    w.clock.pass_(1)  # past exp, within the leeway
    w.verifier.verify(token)
    assert w.keys_a.looked_up == 3
    w.clock.pass_(30)
    assert w.reason(token) == "expired"


def test_a_clock_that_is_set_back_is_no_way_round_the_dates():
    w = World()
    token = w.remembered(w.claims(nbf=w.clock.now, exp=w.clock.now + 9999))
    w.clock.pass_(-3600)

    assert w.reason(token) == "not_yet_valid"


def test_a_change_of_the_keys_forgets_what_they_signed():
    w = World()
    token = w.remembered(w.claims())
    w.keys_a.key_set, w.keys_a.at = Keys(Key("ES256", "k")).key_set, 2

    assert w.reason(token) == "bad_signature"


def test_keys_that_are_gone_forget_it_too():
    w = World()
    token = w.remembered(w.claims())
    w.keys_a.gone = True

    with pytest.raises(KeysUnavailable):
        w.verifier.verify(token)


def test_a_token_checked_with_a_key_that_is_withdrawn_meanwhile_is_not_remembered():
    w = World()
    token = w.a.token(w.claims())
    w.verifier.verify(token)
    find = w.keys_a.find

    def find_and_rotate(kid, algorithm):
        verifier = find(kid, algorithm)
        w.keys_a.at = 2
        w.keys_a.key_set = Keys(Key("ES256", "other")).key_set
        return verifier

    w.keys_a.find = find_and_rotate
    w.verifier.verify(token)
    w.keys_a.find = find

    assert w.reason(token) == "unknown_key"


def test_what_was_refused_is_not_remembered():
    w = World()
    token = w.a.token(w.claims(aud="x"))
    for _ in range(3):
        assert w.reason(token) == "wrong_audience"

    assert w.keys_a.looked_up == 3


def test_another_spelling_of_a_remembered_token_is_another_token():
    w = World()
    token = w.remembered(w.claims())

    for other in (token + "=", token + "A", token[:-1], f" {token}", token.swapcase(), "x" + token[1:]):
        assert w.reason(other) is not None


def test_text_that_is_no_text_is_refused():
    w = World()

    for text in ("\ud800", "\udcff.\udcff.\udcff", "é.é.é", "\0", "🙂.🙂.🙂"):
        assert w.reason(text) == "malformed"


def test_many_threads_verify_and_remember_at_once():
    w = World(cache_size=8)
    tokens = [w.a.token(w.claims(jti=str(n))) for n in range(16)]
    wrong = []

    def work(offset):
        for n in range(200):
            number = (n * 7 + offset) % 16
            if w.verifier.verify(tokens[number])["jti"] != str(number):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(w.verifier._verified._cache) <= 8


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
        ({"scope": ["a"]}, set()),
        ({"scope": {"a": 1}}, set()),
        ({"scope": None, "scp": None}, set()),
        ({"scp": [1, None, "a"]}, {"a"}),
        ({"scp": {"a": 1}}, set()),
        ({"scope": "a\tb"}, {"a\tb"}),
    ],
)
def test_which_scopes_a_token_grants(claims, scopes):
    assert scopes_of(claims) == scopes
    assert has_scopes(claims, *scopes)
    assert not has_scopes(claims, *scopes, "more")


@pytest.fixture
def scoped(application, issuer):
    """A request to a route that asks for two scopes, through the real guard."""
    made = globals()["application"](Route.get("/plain", EchoController.plain))
    made.make("middleware").add({"jwt": [JWTAuthMiddleware]})
    made.make("router").set(Route.get("/orders", EchoController.plain).middleware("jwt:read:orders,write:orders"))
    made.bind("guard", application.make("guard"))

    made.make("observers").append(AccessLog())

    def get(**claims):
        token = issuer.token(**claims)
        return request(made, "GET", "/orders", {"Authorization": f"Bearer {token}", "zp-rid": "r-1"})

    return get


def test_a_route_asks_for_scopes_all_of_them(scoped):
    assert scoped(scope="read:orders write:orders").status == 200
    assert scoped(scp=["write:orders", "read:orders", "x"]).status == 200
    assert scoped(scope="read:orders", scp="write:orders").status == 200


@pytest.mark.parametrize(
    "scope", [None, "", "read:orders", "read:orders write:order", "read:orders,write:orders", "read write"]
)
def test_a_missing_scope_is_told(scoped, scope, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    answer = scoped(scope=scope)

    assert (answer.status, answer.json["error"]) == (403, "Insufficient scope")
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge and 'scope="read:orders write:orders"' in challenge
    assert "reason=insufficient_scope" in caplog.text


def test_scopes_are_asked_for_of_remembered_tokens_too(application, issuer, scoped):
    for _ in range(4):
        bearer = {"Authorization": f"Bearer {issuer.token(scope='read:orders', iat=1)}"}
        assert request(application, "GET", "/protected", bearer).status == 200
        assert scoped(scope="read:orders", iat=1).status == 403


# -- what is logged ---------------------------------------------------------------------------------------------------


def test_a_refusal_is_one_line_with_a_strangers_words_cleaned(application, issuer, caplog):
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
def test_cleaning(text, cleaned):
    assert printable(text) == cleaned


def test_keys_that_cannot_be_had_are_told_as_such(caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    w = World()
    w.keys_a.gone = True
    made = application(Route.get("/plain", EchoController.plain))
    made.make("middleware").add({"jwt": [JWTAuthMiddleware]})
    made.make("router").set(Route.get("/x", EchoController.plain).middleware("jwt"))
    from zuplo_origin.guard import Guard

    made.bind("guard", Guard(w.verifier, "HTTP_AUTHORIZATION", "Bearer", "here"))
    made.make("observers").append(AccessLog())
    answer = request(made, "GET", "/x", {"Authorization": f"Bearer {w.a.token(w.claims())}"})

    assert (answer.status, answer.json) == (503, {"error": "Signing keys unavailable"})
    assert answer.headers["retry-after"] == "5" and "www-authenticate" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert "reason=keys_unavailable issuer=x" in caplog.text


def test_an_error_of_our_own_is_no_fault_of_the_tokens(application, issuer, caplog, monkeypatch):
    monkeypatch.setattr("zuplo_origin.jwt.claims.Audiences.accept", lambda self, audience: 1 / 0)
    answer = request(application, "GET", "/protected", {"Authorization": f"Bearer {issuer.token(jti='500')}"})

    assert (answer.status, answer.json) == (500, {"error": "Internal server error"})
    assert "ZeroDivisionError" in caplog.text


def test_every_reason_has_an_answer_and_its_own_words():
    from zuplo_origin.guard import ERROR_RESPONSES

    assert set(ERROR_RESPONSES) == set(Reason)
    told = [(answer.error, answer.details) for answer in ERROR_RESPONSES.values()]
    assert len(set(told)) == len(told)
