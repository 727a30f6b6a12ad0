"""`craft jwt:inspect`: the result of each rule of the verifier."""

import json

import pytest

from package_tests.support.project import copy_of_the_project, craft, issued_token, serve, start_craft
from package_tests.support.servers import free_port
from package_tests.support.signing import Key, encode
from package_tests.support.verifiers import A, VerifierHarness
from zuplo_origin.commands.jwt_inspect import read_token
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwks.keys import parse_key_set
from zuplo_origin.jwt.inspection import DESCRIPTIONS, inspect, inspect_requirements, inspect_scopes
from zuplo_origin.jwt.verifier import RULES


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


def results(harness, token):
    return {result.rule: result for result in inspect(harness.verifier.candidate(token), KeysUnavailable)}


def test_every_rule_has_a_description():
    assert list(DESCRIPTIONS) == list(RULES)


def test_accepted_token_passes_every_rule():
    harness = VerifierHarness()

    assert all(result.passed for result in results(harness, harness.a.token(harness.claims())).values())


def test_result_shows_the_found_and_the_expected_value():
    harness = VerifierHarness(required={"plan": "gold"}, audiences=["orders", "https://gw.example/*"])
    token = harness.a.token(harness.claims(sub="me", exp=1_000_000, nbf=2, x=1, plan="gold"), typ="JWT")
    size = f"{len(token)} characters, 3 segments"

    assert [(one.rule, one.found, one.expected) for one in results(harness, token).values()] == [
        ("form", size, "3 segments of base64url, 8192 characters at most, with JSON objects inside"),
        ("algorithm", '{"alg": "ES256"}', "ES256, RS256"),
        ("critical", "no crit", "no crit"),
        ("type", '{"typ": "JWT"}', "no typ, JWT or at+jwt"),
        ("issuer", f'{{"iss": "{A}"}}', f"one of {A}, https://b.example, with an algorithm that it may use"),
        ("key", '{"kid": "k"}', "a key of the issuer for ES256"),
        ("signature", "64 bytes", "made with that key"),
        (
            "dates",
            '{"exp": "1000000 (1970-01-12T13:46:40+00:00)", "nbf": "2 (1970-01-01T00:00:02+00:00)"}',
            "exp later than 1000000 (1970-01-12T13:46:40+00:00), nbf and iat not later; 30 s tolerance",
        ),
        ("audience", '{"aud": "orders"}', "orders, https://gw.example/*"),
        ("other claims", '{"sub": "me"}', "strings if present; no number too large"),
        ("sender", "no cnf", "no cnf: a bearer token"),
        ("required claims", '{"plan": "gold"}', '{"plan": "gold"}'),
    ]


def test_result_shows_missing_members_as_missing():
    harness = VerifierHarness(audiences=["*"])
    shown = results(harness, harness.a.token({"iss": A, "iat": "x"}, typ=None, kid=None))

    assert [shown[rule].found for rule in ("type", "key", "audience", "other claims", "required claims")] == [
        "no typ",
        "no kid",
        "no aud",
        "no sub and no jti",
        "",
    ]
    assert shown["dates"].found == '{"iat": "x"}'
    assert (shown["audience"].expected, shown["required claims"].expected) == ("any", "none")
    assert results(harness, harness.a.token({"iss": A}))["dates"].found == "no exp"
    skipped = results(harness, "garbage")["key"]
    assert (skipped.reason, skipped.found, skipped.expected) == (None, "not reached", "")


def test_long_value_is_cut():
    harness = VerifierHarness()
    found = results(harness, harness.a.token(harness.claims(aud="x" * 999)))["audience"].found

    assert found == '{"aud": "' + "x" * (200 - 9 - 3) + "..."
    whole = "x" * (200 - len('{"aud": ""}'))
    assert results(harness, harness.a.token(harness.claims(aud=whole)))["audience"].found == f'{{"aud": "{whole}"}}'


def test_rules_after_a_failed_rule_are_checked():
    harness = VerifierHarness()
    shown = results(harness, Key("ES256", "k").token(harness.claims(aud="x", exp=1, iss=A)))

    failed = {rule: result.reason.value for rule, result in shown.items() if not result.passed}
    assert failed == {"signature": "bad_signature", "dates": "expired", "audience": "wrong_audience"}
    assert shown["audience"].expected == "orders"
    assert "1970-01-01" in shown["dates"].found


def test_rule_that_needs_a_failed_one_is_not_reached():
    harness = VerifierHarness()
    shown = results(harness, harness.a.token(harness.claims(iss="https://evil.example")))

    assert shown["issuer"].reason.value == "unknown_issuer"
    assert [rule for rule, result in shown.items() if result.passed is None] == [
        "key",
        "signature",
        "dates",
        "audience",
        "required claims",
    ]
    assert [result.passed for result in results(harness, "garbage").values()] == [False] + [None] * 11


def test_unavailable_keys_are_the_result_of_the_key_rule():
    harness = VerifierHarness()
    harness.keys_a.gone = True

    assert results(harness, harness.a.token(harness.claims()))["key"].reason.value == "keys_unavailable"


@pytest.mark.parametrize("name", ["alg", "typ", "kid", "crit"])
def test_values_are_shown_on_one_line_of_ascii(name):
    harness = VerifierHarness()
    shown = results(harness, harness.a.token(harness.claims(), **{name: "a\n\x1b[31mé" + "x" * 999}))

    for result in shown.values():
        assert result.found.isascii() and result.found.isprintable() and len(result.found) <= 200


# -- advice -----------------------------------------------------------------------------------------------------------


def segments(token, header=None, payload=None, signature=None):
    given = (header, payload, signature)
    return ".".join(new if new is not None else old for new, old in zip(given, token.split("."), strict=True))


def test_form_has_the_cause_of_a_malformed_token():
    harness = VerifierHarness()
    good = harness.a.token(harness.claims())
    causes = {
        segments(good, header="eyJhbGciOiJFUzI1NiJ9Cg=="): "AWS Application Load Balancers pad the token",
        segments(good, header="e+Jh"): "standard base64 alphabet",
        f"{good}.a.b": "an encrypted token (JWE)",
        "opaque-token": "an opaque token, not a JWT",
        good.rpartition(".")[0]: "a JWT has three segments",
        segments(good, payload=""): "a segment is empty",
        good[:50] + "\n" + good[50:]: "white space inside the token",
        good[:-1] + "!": "the signature is not base64url",
        segments(good, payload=encode([])): "the payload is not a JSON object",
        segments(good, header=encode(b'{"alg":"ES256","alg":"ES256"}')): "has a member twice",
        "x" * 9000: "JWT_MAX_BYTES",
    }

    for text, cause in causes.items():
        assert cause in results(harness, text)["form"].advice, cause


@pytest.mark.parametrize(
    ("rule", "claims", "header", "advice"),
    [
        ("dates", {"exp": "1700000000"}, {}, "exp is a string, not a number of seconds"),
        ("dates", {"exp": None}, {}, "a token without exp never expires"),
        ("dates", {"iat": True}, {}, "iat is a boolean, not a number"),
        ("dates", {"nbf": {}}, {}, "nbf is an object, not a number"),
        ("dates", {"iat": 1_700_000_000_000}, {}, "in milliseconds"),
        ("dates", {"nbf": 2_000_000}, {}, "the clock of the issuer or of this machine is wrong"),
        ("audience", {"aud": None}, {}, "JWT_REQUIRED_CLAIMS=client_id"),
        ("audience", {"aud": "orders/"}, {}, "the slash at the end"),
        ("audience", {"aud": ["x"]}, {}, "issued for another API"),
        ("audience", {"aud": 5}, {}, "a string or a list of strings"),
        ("other claims", {"sub": 5}, {}, "sub is a number, not a string"),
        ("issuer", {"iss": f"{A}/"}, {}, "the slash at the end"),
        ("issuer", {"iss": A.upper()}, {}, "upper and lower case"),
        ("issuer", {"iss": A.replace("https", "http")}, {}, "http and https"),
        ("issuer", {"iss": "https://c.example"}, {}, "set JWT_ISSUER to this iss"),
        ("issuer", {"iss": 5}, {}, "iss is a number, not a string"),
        ("issuer", {"iss": None}, {}, "iss is null, not a string"),
        ("algorithm", {}, {"alg": "HS256"}, "a shared secret"),
        ("algorithm", {}, {"alg": "none"}, "without a signature is never accepted"),
        ("algorithm", {}, {"alg": "ES384"}, "JWT_ALGORITHMS"),
        ("type", {}, {"typ": "logout+jwt"}, "send the access token"),
        ("key", {}, {"kid": 5}, "kid is a number, not a string"),
    ],
)
def test_advice_names_the_cause(rule, claims, header, advice):
    harness = VerifierHarness()
    all_claims = harness.claims() | claims
    token = harness.a.token({name: value for name, value in all_claims.items() if value is not None}, **header)
    result = results(harness, token)[rule]

    assert result.passed is False and advice in result.advice


@pytest.mark.parametrize(("header", "advice"), [({"nonce": "x"}, "Microsoft Graph"), ({}, "under this kid")])
def test_advice_on_a_bad_signature_depends_on_the_nonce_of_microsoft(header, advice):
    harness = VerifierHarness()

    assert advice in results(harness, Key("ES256", "k").token(harness.claims(), **header))["signature"].advice


def test_advice_on_a_token_without_a_signature():
    harness = VerifierHarness()
    unsigned = segments(harness.a.token(harness.claims()), signature="")

    assert "without a signature" in results(harness, unsigned)["signature"].advice


def test_advice_has_no_part_of_the_token():
    harness = VerifierHarness()
    token = Key("ES256", "k").token(harness.claims(aud="x", exp="1", iat=[]), typ="x", kid="k")
    broken = segments(token, header="a" + token.split(".")[0])

    for each in (token, broken):
        for result in results(harness, each).values():
            assert not any(segment in str(result) for segment in each.split("."))


# -- scopes and claims of a route -------------------------------------------------------------------------------------


def test_scopes_have_what_was_granted_and_where_the_missing_one_is():
    claims = {"scope": "read:orders openid", "realm_access": {"roles": ["write:orders"]}, "scp": ["x"]}
    accepted = inspect_scopes(claims, ["read:orders"], ["scope", "scp"])
    rejected = inspect_scopes(claims, ["read:orders", "write:orders"], ["scope", "scp"])

    assert (accepted.passed, accepted.found, accepted.expected) == (True, "openid read:orders x", "read:orders")
    assert (rejected.passed, rejected.reason.value) == (False, "insufficient_scope")
    assert rejected.advice == (
        "no write:orders in scope, scp; realm_access.roles has it: add that to JWT_SCOPE_CLAIMS if it holds scopes"
    )
    assert inspect_scopes({}, ["a"], ["scope"]).advice == "no a in scope"
    assert inspect_scopes(None, ["a"], ["scope"]).passed is None


def test_requirements_have_the_found_claims():
    accepted = inspect_requirements({"role": ["admin", "user"]}, ["role=admin"])
    rejected = inspect_requirements({"role": "user"}, ["role=admin", "org.id:=1"])

    assert (accepted.passed, accepted.found, accepted.expected) == (True, '{"role": ["admin", "user"]}', "role=admin")
    assert (rejected.passed, rejected.reason.value, rejected.found) == (False, "claim_mismatch", '{"role": "user"}')
    assert inspect_requirements({}, ["a=1", "b"]).found == "no a and no b"
    assert inspect_requirements(None, ["a"]).passed is None


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "{}",
        "  {}\n",
        "'{}'",
        '"{}"\r\n',
        "`{}`,",
        "\u201c{}\u201d",
        "\ufeff{}",
        "Bearer {}",
        "bearer   {}",
        "Authorization: Bearer {}",
        "authorization:Bearer {}\r\n",
        "'Authorization: Bearer {}'",
        'Authorization: "Bearer {}"',
        "-H 'Authorization: Bearer {}'",
        "--header='Authorization: Bearer {}'",
    ],
)
@pytest.mark.parametrize("token", ["aa.bb-_.cc", "aa.b-H.c-H-H", "aa.--header.cc"])
def test_token_is_read_without_its_header_line_quotes_and_white_space(given, token):
    text, results = read_token(given.format(token), "Authorization", "Bearer")

    assert text == token and all(result.passed for result in results)
    assert len(results) == ("uthorization" in given)


@pytest.mark.parametrize(
    ("given", "scheme", "reason", "found"),
    [
        ("X-Token: aa.bb.cc", "Bearer", "no_token", "X-Token: <token>"),
        ("X-Token: Bearer aa.bb.cc", "Bearer", "no_token", "X-Token: Bearer <token>"),
        ("Authorization: Token aa.bb.cc", "Bearer", "no_token", "Authorization: Token <token>"),
        ("Token aa.bb.cc", "Bearer", "no_token", "Authorization: Token <token>"),
        ("Authorization: aa.bb.cc", "Bearer", "no_token", "Authorization: <token>"),
        ("Authorization: aa.bb.cc foo", "Bearer", "no_token", "Authorization: ... <token>"),
        (
            "Authorization: Bearer aa.bb.cc, Bearer aa.bb.cc",
            "Bearer",
            "several_tokens",
            "Authorization: Bearer <token>",
        ),
        ("Authorization: Bearer aa.bb.cc", "", "several_tokens", "Authorization: Bearer <token>"),
    ],
)
def test_header_line_is_evaluated_as_the_guard_does(given, scheme, reason, found):
    text, (result,) = read_token(given, "Authorization", scheme)

    assert text == "aa.bb.cc"
    assert (result.passed, result.reason.value, result.found) == (False, reason, found)
    assert result.expected == ("Authorization: Bearer <token>" if scheme else "Authorization: <token>")


def test_key_is_explained(issuer):
    keys = [Key("ES256", "one"), Key("RS256", "weak", bits=1024), Key("ES256", "rs")]
    issuer.document = {"keys": [key.jwk() for key in keys]}
    key_set = parse_key_set(json.dumps(issuer.document).encode(), frozenset(["ES256", "RS256"]))

    assert "none of the 3 keys has the kid" in key_set.describe("other", "ES256")
    assert "is not usable: " in key_set.describe("weak", "RS256")
    assert "1024" in key_set.describe("weak", "RS256")
    assert "not for RS256" in key_set.describe("rs", "RS256")
    assert key_set.describe(None, "ES256").startswith("2 different keys fit")
    assert "none of the 2 usable keys is for EdDSA" in key_set.describe(None, "EdDSA")


def test_command_shows_every_rule(project, tmp_path):
    with serve(project, tmp_path / "log", "--dont-reload"):
        good = issued_token(project, "--claim", "note=<info>x</info>")
        expired = issued_token(project, "--ttl", "-99")
        accepted = start_craft(project, "jwt:inspect", good)
        rejected = craft(project, "jwt:inspect", expired)
        piped = craft(project, "jwt:inspect", "-", stdin=f"Bearer {good}\n")
    stopped = craft(project, "jwt:inspect", good)

    assert (accepted.returncode, accepted.stdout.count("✓"), accepted.stdout.count("✗")) == (0, 12, 0), accepted.stdout
    assert rejected.returncode == 1 and "✗ dates" in rejected.stdout and "expired" in rejected.stdout
    assert piped.returncode == 0
    assert stopped.returncode == 1 and "JWT_ISSUER: not set" in stopped.stderr
    for ended in (accepted, rejected, piped):
        assert good.split(".")[2] not in ended.stdout and expired.split(".")[2] not in ended.stdout


ROUTES = """
from masonite.routes import Route
ROUTES += [
    Route.get("/orders/@id:int", ProtectedController.show).middleware("jwt:read:orders", "claims:role=admin"),
    Route.get("/scoped", ProtectedController.show).middleware("jwt:read:orders"),
]
"""


def test_command_verifies_tokens_of_another_issuer(issuer, tmp_path):
    folder = copy_of_the_project(tmp_path / "project")
    routes = folder / "routes/web.py"
    routes.write_text(routes.read_text() + ROUTES)
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "orders-api"}

    def inspected(token, *arguments):
        ended = craft(folder, "jwt:inspect", token, *arguments, **settings)
        assert token.split(".")[2][-40:] not in ended.stdout + ended.stderr and "Traceback" not in ended.stderr
        return ended.returncode, ended.stdout

    good = issuer.token(aud="orders-api", scope="read:orders", role="admin")
    status, printed = inspected(f"Authorization: Bearer {good}", "--route", "GET /orders/7?x=1")
    assert status == 0 and "\u2713 scopes" in printed and "\u2713 claims" in printed and "/orders/@id:int" in printed
    status, printed = inspected(issuer.token(aud="orders-api"), "--route", "/scoped")
    assert status == 1 and "insufficient_scope; expected: read:orders" in printed and "no read:orders in" in printed
    status, printed = inspected(issuer.token(aud="x"), "--route", "POST /scoped")
    assert status == 1 and "wrong_audience; expected: orders-api" in printed and "no such route: status 405" in printed
    status, printed = inspected(Key("EdDSA", "new").token(issuer.claims()), "--route", "GET /health/live")
    assert status == 1 and "unknown_key" in printed and "the kid" in printed and "not guarded" in printed


def test_command_reads_standard_input_and_names_what_else_a_request_needs(project, issuer):
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "orders-api", "GATEWAY_SECRET": "s" * 32}
    line = f"\ufeff'Authorization: Bearer {issuer.token(aud='orders-api')}'\r\n"

    accepted = craft(project, "jwt:inspect", "--route", "GET /protected", stdin=line, **settings)
    assert accepted.returncode == 0 and "needs GATEWAY_SECRET, in backend-secret" in accepted.stdout
    gone = {"JWKS_URL": f"http://127.0.0.1:{free_port()}/"}
    rejected = craft(project, "jwt:inspect", stdin=line, **settings | gone)
    assert rejected.returncode == 1 and "keys_unavailable" in rejected.stdout
    slash = craft(project, "jwt:inspect", "--route", "GET /health%2Flive", stdin=line, **settings)
    assert slash.returncode == 1 and "no such route: status 404" in slash.stdout
    assert "no keys: " in rejected.stdout and "the port is closed" in rejected.stdout
    empty = craft(project, "jwt:inspect", **settings)
    assert empty.returncode == 1 and "malformed" in empty.stdout and "Traceback" not in empty.stderr
