"""`craft jwt:inspect`: the verifier's own rules, told."""

import sys

import pytest

from package_tests.support.signing import Key
from package_tests.test_commands import craft, project, serve, token  # noqa: F401  # the fixture
from package_tests.test_verifier import A, World
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.inspection import DESCRIPTIONS, inspect
from zuplo_origin.jwt.verifier import RULES


def findings(w, token):
    return {finding.rule: finding for finding in inspect(w.verifier.candidate(token), KeysUnavailable)}


def test_every_rule_is_told():
    assert list(DESCRIPTIONS) == list(RULES)


def test_a_token_that_is_let_in_passes_every_rule():
    w = World()

    assert all(finding.passed for finding in findings(w, w.a.token(w.claims())).values())


def test_what_each_rule_found_and_expected():
    w = World(required={"plan": "gold"}, audiences=["orders", "https://gw.example/*"])
    token = w.a.token(w.claims(sub="me", exp=1_000_000, nbf=2, x=1, plan="gold"), typ="JWT")
    size = f"{len(token)} characters, 3 segments"

    assert [(one.rule, one.found, one.expected) for one in findings(w, token).values()] == [
        ("form", size, "3 segments of base64url, 8192 characters at most, with JSON objects inside"),
        ("algorithm", '{"alg": "ES256"}', "ES256, RS256"),
        ("critical", "no crit", "no crit"),
        ("type", '{"typ": "JWT"}', "no typ, JWT or at+jwt"),
        ("issuer", f'{{"iss": "{A}"}}', f"{A}, https://b.example; signing with an algorithm of its own list"),
        ("key", '{"kid": "k"}', "exactly one key of the issuer's, for ES256"),
        ("signature", "64 bytes", "made with that key"),
        (
            "dates",
            '{"exp": "1000000 (1970-01-12T13:46:40+00:00)", "nbf": "2 (1970-01-01T00:00:02+00:00)"}',
            "exp after, nbf and iat before 1000000 (1970-01-12T13:46:40+00:00), within 30 s",
        ),
        ("audience", '{"aud": "orders"}', "orders, https://gw.example/*"),
        ("other claims", '{"sub": "me"}', "strings where they are; no number too large"),
        ("sender", "no cnf", "no cnf: a bearer token"),
        ("required claims", '{"plan": "gold"}', '{"plan": "gold"}'),
    ]


def test_what_is_not_there_is_told_as_such():
    w = World(audiences=["*"])
    told = findings(w, w.a.token({"iss": A, "iat": "x"}, typ=None, kid=None))

    assert [told[rule].found for rule in ("type", "key", "audience", "other claims", "required claims")] == [
        "no typ",
        "no kid",
        "no aud",
        "no sub and no jti",
        "",
    ]
    assert told["dates"].found == '{"iat": "x"}'
    assert (told["audience"].expected, told["required claims"].expected) == ("any", "none")
    assert findings(w, w.a.token({"iss": A}))["dates"].found == "no exp"
    skipped = findings(w, "garbage")["key"]
    assert (skipped.reason, skipped.found, skipped.expected) == (None, "not reached", "")


def test_a_long_value_is_cut():
    w = World()
    found = findings(w, w.a.token(w.claims(aud="x" * 999)))["audience"].found

    assert found == '{"aud": "' + "x" * (200 - 9 - 3) + "..."
    whole = "x" * (200 - len('{"aud": ""}'))
    assert findings(w, w.a.token(w.claims(aud=whole)))["audience"].found == f'{{"aud": "{whole}"}}'


def test_the_walk_goes_on_beyond_the_first_failure():
    w = World()
    told = findings(w, Key("ES256", "k").token(w.claims(aud="x", exp=1, iss=A)))

    failed = {rule: finding.reason.value for rule, finding in told.items() if not finding.passed}
    assert failed == {"signature": "bad_signature", "dates": "expired", "audience": "wrong_audience"}
    assert told["audience"].expected == "orders"
    assert "1970-01-01" in told["dates"].found


def test_what_cannot_be_tried_is_not_reached():
    w = World()
    told = findings(w, w.a.token(w.claims(iss="https://evil.example")))

    assert told["issuer"].reason.value == "unknown_issuer"
    assert [rule for rule, finding in told.items() if finding.passed is None] == [
        "key",
        "signature",
        "dates",
        "audience",
        "required claims",
    ]
    assert [finding.passed for finding in findings(w, "garbage").values()] == [False] + [None] * 11


def test_keys_that_cannot_be_had_are_told():
    w = World()
    w.keys_a.gone = True

    assert findings(w, w.a.token(w.claims()))["key"].reason.value == "keys_unavailable"


@pytest.mark.parametrize("name", ["alg", "typ", "kid", "crit"])
def test_a_strangers_words_are_shown_on_one_line_of_ascii(name):
    w = World()
    told = findings(w, w.a.token(w.claims(), **{name: "a\n\x1b[31mé" + "x" * 999}))

    for finding in told.values():
        assert finding.found.isascii() and finding.found.isprintable() and len(finding.found) <= 200


def test_the_command(project, tmp_path):  # noqa: F811
    with serve(project, tmp_path / "log"):
        good = token(project, "--claim", "note=<info>x</info>")
        expired = token(project, "--ttl", "-99")
        let_in = craft(project, "jwt:inspect", good)
        refused = craft(project, "jwt:inspect", expired)
        import subprocess

        from package_tests.support.servers import clean_environment

        piped = subprocess.run(
            [sys.executable, "craft", "jwt:inspect", "-"],
            cwd=project,
            env=clean_environment(),
            input=f"Bearer {good}\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
    nobody = craft(project, "jwt:inspect", good)

    assert (let_in.returncode, let_in.stdout.count("✓"), let_in.stdout.count("✗")) == (0, 12, 0), let_in.stderr
    assert refused.returncode == 1 and "✗ dates" in refused.stdout and "expired" in refused.stdout
    assert piped.returncode == 0
    assert nobody.returncode == 1 and "JWT_ISSUER: not set" in nobody.stderr
    for ended in (let_in, refused, piped):
        assert good.split(".")[2] not in ended.stdout and expired.split(".")[2] not in ended.stdout


def test_the_command_with_an_issuer_of_ones_own(project, issuer):  # noqa: F811
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "orders-api"}

    assert craft(project, "jwt:inspect", issuer.token(aud="orders-api"), **settings).returncode == 0
    refused = craft(project, "jwt:inspect", issuer.token(aud="x"), **settings)
    assert refused.returncode == 1 and "wrong_audience; expected: orders-api" in refused.stdout
