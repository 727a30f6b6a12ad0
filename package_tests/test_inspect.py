"""`craft jwt:inspect`: the result of each rule of the verifier."""

import sys

import pytest

from package_tests.support.signing import Key
from package_tests.support.verifiers import A, VerifierHarness
from package_tests.test_commands import craft, project, serve, token  # noqa: F401  # the fixture
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.inspection import DESCRIPTIONS, inspect
from zuplo_origin.jwt.verifier import RULES


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
        ("key", '{"kid": "k"}', "exactly one key of the issuer for ES256"),
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


def test_command_shows_every_rule(project, tmp_path):  # noqa: F811
    with serve(project, tmp_path / "log"):
        good = token(project, "--claim", "note=<info>x</info>")
        expired = token(project, "--ttl", "-99")
        accepted = craft(project, "jwt:inspect", good)
        rejected = craft(project, "jwt:inspect", expired)
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
    stopped = craft(project, "jwt:inspect", good)

    assert (accepted.returncode, accepted.stdout.count("✓"), accepted.stdout.count("✗")) == (0, 12, 0), accepted.stderr
    assert rejected.returncode == 1 and "✗ dates" in rejected.stdout and "expired" in rejected.stdout
    assert piped.returncode == 0
    assert stopped.returncode == 1 and "JWT_ISSUER: not set" in stopped.stderr
    for ended in (accepted, rejected, piped):
        assert good.split(".")[2] not in ended.stdout and expired.split(".")[2] not in ended.stdout


def test_command_verifies_tokens_of_another_issuer(project, issuer):  # noqa: F811
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "orders-api"}

    assert craft(project, "jwt:inspect", issuer.token(aud="orders-api"), **settings).returncode == 0
    rejected = craft(project, "jwt:inspect", issuer.token(aud="x"), **settings)
    assert rejected.returncode == 1 and "wrong_audience; expected: orders-api" in rejected.stdout
