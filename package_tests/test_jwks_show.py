"""`craft jwks:show`: the first thing to run when every token is refused."""

import json

import pytest

from package_tests.support.issuer import Issuer, send
from package_tests.support.servers import free_port
from package_tests.support.signing import Key
from package_tests.test_commands import craft, project, serve  # noqa: F401  # the fixture
from zuplo_origin.jwks.fetch import Source
from zuplo_origin.jwks.keys import ALGORITHMS
from zuplo_origin.jwks.report import report


@pytest.fixture
def local():
    made = Issuer([Key("EdDSA", "ed"), Key("RS256", "rsa"), Key("ES384", "ec")])
    yield made
    made.close()


def look(issuer, *allowed, url=None):
    return report(Source(issuer.name, url or issuer.jwks_url, 2, 65536), frozenset(allowed or ALGORITHMS))


def test_every_key_is_told(local):
    found = look(local)

    assert [(one.kid, one.kty, one.size, one.alg, one.use, one.usable) for one in found.entries] == [
        ("ed", "OKP", "Ed25519", "EdDSA", "sig", True),
        ("rsa", "RSA", "2048", "RS256", "sig", True),
        ("ec", "EC", "P-384", "ES384", "sig", True),
    ]
    assert found.usable and found.failure is None and found.advice == ()


def test_what_the_algorithms_lack_is_told(local):
    found = look(local, "RS256", "ES384")

    assert found.usable
    assert found.advice == ("Add one of EdDSA to JWT_ALGORITHMS to let in what the key ed signs.",)
    (lacking,) = [one for one in found.entries if not one.usable]
    assert (lacking.kid, lacking.why) == ("ed", "its algorithm is not allowed: JWT_ALGORITHMS lacks EdDSA")


def test_keys_that_no_setting_makes_usable_are_told(local):
    local.keys = [Key("RS256", "weak", bits=1024)]
    found = look(local)

    assert not found.usable
    assert "no setting here" in found.advice[0] and "1024 bits" in found.entries[0].why


def test_an_issuer_that_does_not_answer_is_told(local):
    local.behave = lambda handler: send(handler, 404, b"")
    missing, gone = look(local), look(local, url=f"http://127.0.0.1:{free_port()}/jwks")

    assert (missing.failure, gone.failure) == ("the answer has status 404, not 200", "the connection failed")
    for found in (missing, gone):
        assert not found.usable and found.url in found.advice[0]


def test_the_command(project, local, tmp_path):  # noqa: F811
    settings = {"JWT_ISSUER": local.name, "JWT_AUDIENCE": "*", "JWT_ALGORITHMS": "RS256"}
    local.keys.append(Key("ES256", "<info>\x1b[31m\n" + "x" * 99))
    shown, parsed = craft(project, "jwks:show", **settings), craft(project, "jwks:show", "--json", **settings)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "✓" in shown.stdout and "✗" in shown.stdout and "→ Add one of EdDSA to JWT_ALGORITHMS" in shown.stdout
    assert "\x1b" not in shown.stdout and "<info>?" in shown.stdout
    (told,) = json.loads(parsed.stdout)
    assert (told["issuer"], told["usable"], len(told["entries"])) == (local.name, True, 4)

    assert craft(project, "jwks:show", **settings | {"JWT_ALGORITHMS": "PS512"}).returncode == 1
    nobody = craft(project, "jwks:show", **settings | {"JWKS_URL": f"http://127.0.0.1:{free_port()}/"})
    assert nobody.returncode == 1 and "the connection failed" in nobody.stdout and "Traceback" not in nobody.stderr
    wrong = craft(project, "jwks:show", JWT_LEEWAY="x")
    assert wrong.returncode == 1 and "JWT_LEEWAY: invalid value 'x'" in wrong.stderr
    unset = craft(project, "jwks:show", APP_ENV="production")
    assert unset.returncode == 1 and "JWT_ISSUER: not set" in unset.stderr


def test_the_command_beside_a_development_server(project, tmp_path):  # noqa: F811
    with serve(project, tmp_path / "log"):
        ended = craft(project, "jwks:show")

    assert ended.returncode == 0 and "Ed25519" in ended.stdout and " 2048 " in ended.stdout
