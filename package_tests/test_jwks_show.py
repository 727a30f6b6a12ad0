"""`craft jwks:show`: the report on the published keys."""

import json
import re
import time

import pytest

from package_tests.support.issuer import Issuer, send
from package_tests.support.project import copy_of_the_project, craft, serve, start_craft
from package_tests.support.servers import free_port
from package_tests.support.signing import Key
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.client import Policy
from zuplo_origin.jwks.fetch import Source
from zuplo_origin.jwks.report import report
from zuplo_origin.jwks.shared import SharedKeys
from zuplo_origin.jwks.stores import BoundedStore, FileStore


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def local():
    made = Issuer([Key("EdDSA", "ed"), Key("RS256", "rsa"), Key("ES384", "ec")])
    yield made
    made.close()


def look(issuer, *allowed, url=None):
    return report(Source(issuer.name, url or issuer.jwks_url, 2, 262144), frozenset(allowed or ALGORITHMS))


def test_report_has_every_key(local):
    found = look(local)

    assert [(one.kid, one.kty, one.size, one.alg, one.use, one.usable) for one in found.entries] == [
        ("ed", "OKP", "Ed25519", "EdDSA", "sig", True),
        ("rsa", "RSA", "2048", "RS256", "sig", True),
        ("ec", "EC", "P-384", "ES384", "sig", True),
    ]
    assert found.usable and found.failure is None and found.advice == ()


def test_report_names_the_missing_algorithms(local):
    found = look(local, "RS256", "ES384")

    assert found.usable
    assert found.advice == ("Add one of EdDSA to JWT_ALGORITHMS to accept tokens of the key 'ed'.",)
    (lacking,) = [one for one in found.entries if not one.usable]
    assert (lacking.kid, lacking.why) == ("ed", "its algorithm is not allowed; add EdDSA to JWT_ALGORITHMS")


def test_report_says_if_no_setting_makes_a_key_usable(local):
    local.keys = [Key("RS256", "weak", bits=1024)]
    found = look(local)

    assert not found.usable
    assert "no setting makes" in found.advice[0] and "1024 bits" in found.entries[0].why


def test_report_has_the_failure_of_a_fetch(local):
    local.behave = lambda handler: send(handler, 404, b"")
    missing, gone = look(local), look(local, url=f"http://127.0.0.1:{free_port()}/jwks")

    assert [found.cause.value for found in (missing, gone)] == ["status", "closed_port"]
    assert missing.failure.startswith(f"{local.jwks_url}: status 404, not 200: check JWKS_URL; JWKS_URL=discovery")
    assert gone.failure.startswith(f"{gone.url}: 127.0.0.1:")
    for found in (missing, gone):
        assert not found.usable and found.as_dict()["failure"] == found.failure


def test_command_shows_the_report_as_text_and_as_json(project, local, tmp_path):
    settings = {"JWT_ISSUER": local.name, "JWT_AUDIENCE": "*", "JWT_ALGORITHMS": "RS256"}
    local.keys.append(Key("ES256", "<info>\x1b[31m\n" + "x" * 99))
    shown, parsed = start_craft(project, "jwks:show", **settings), craft(project, "jwks:show", "--json", **settings)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "✓" in shown.stdout and "✗" in shown.stdout and "→ Add one of EdDSA to JWT_ALGORITHMS" in shown.stdout
    assert "\x1b" not in shown.stdout and "<info>?" in shown.stdout
    (parsed_report,) = json.loads(parsed.stdout)
    assert (parsed_report["issuer"], parsed_report["usable"], len(parsed_report["entries"])) == (local.name, True, 4)

    assert craft(project, "jwks:show", **settings | {"JWT_ALGORITHMS": "PS512"}).returncode == 1
    unreachable = craft(project, "jwks:show", **settings | {"JWKS_URL": f"http://127.0.0.1:{free_port()}/"})
    assert (
        unreachable.returncode == 1
        and "rejects connections: the port is closed" in unreachable.stdout
        and "Traceback" not in unreachable.stderr
    )
    wrong = craft(project, "jwks:show", JWT_LEEWAY="x")
    assert wrong.returncode == 1 and "JWT_LEEWAY: invalid value 'x'" in wrong.stderr
    unset = craft(project, "jwks:show", APP_ENV="production")
    assert unset.returncode == 1 and "JWT_ISSUER: not set" in unset.stderr


SHARING = {"JWKS_STORE": "file", "APP_KEY": "0123456789abcdef" * 2}


def shared_keys(local, folder, now):
    source = Source(local.name, local.jwks_url, 2, 262144)
    store, key = BoundedStore(FileStore(folder)), SHARING["APP_KEY"].encode()
    return SharedKeys(source, frozenset(["RS256"]), Policy(ttl=600), store, key, clock=lambda: now)


def test_shared_state_has_the_time_since_each_key_was_first_seen(local, tmp_path):
    now = time.time()
    first, later = shared_keys(local, tmp_path, now - 500), shared_keys(local, tmp_path, now)
    assert first.state() is None

    local.keys = [Key("RS256", "old")]
    first.fetch()
    local.keys.append(Key("RS256", "new"))
    local.headers["Cache-Control"] = "max-age=300"
    later._returned = later._stored()  # it refreshes what it has
    later.fetch()

    state = later.state()
    assert (state.fetched_at, state.refresh_due) == (now, now + 0.8 * 300)
    assert look(local, "RS256").entries[0].first_seen is None
    entries = report(Source(local.name, local.jwks_url, 2, 262144), frozenset(["RS256"]), state).entries
    assert [(each.kid, each.first_seen) for each in entries] == [("old", now - 500), ("new", now)]

    local.keys = [Key("RS256", "new", fresh=True)]  # another key under the same kid
    again = shared_keys(local, tmp_path, now + 9)
    again._returned = again._stored()
    again.fetch()
    assert set(again.state().first_seen.values()) == {now + 9}


def test_command_shows_the_times_of_running_processes(project, local):
    settings = {"JWT_ISSUER": local.name, "JWT_AUDIENCE": "*", "JWT_ALGORITHMS": "RS256"} | SHARING
    local.headers["Cache-Control"] = "public, max-age=120"

    none = craft(project, "jwks:show", **settings).stdout
    assert "fresh for 120 s (max-age 120 s in the headers; JWKS_TTL=600)" in none
    assert "running processes: none has fetched this key set lately" in none

    shared_keys(local, project / "storage" / "jwks", time.time() - 20).fetch()
    shown = craft(project, "jwks:show", **settings)
    assert re.search(r"running processes: fetched 2\d s ago, next refresh due in [67]\d s", shown.stdout)
    assert re.search(r"rsa .*✓ .*\d\d s ago", shown.stdout)
    (parsed,) = json.loads(craft(project, "jwks:show", "--json", **settings).stdout)
    assert parsed["max_age"] == 120 and parsed["refresh_due"] - parsed["fetched_at"] == pytest.approx(96)

    alone = craft(project, "jwks:show", **settings | {"JWKS_STORE": "memory"}).stdout
    assert "do not share their key sets (JWKS_STORE)" in alone


def test_command_works_with_a_development_server(project, tmp_path):
    with serve(project, tmp_path / "log", "--dont-reload"):
        ended = craft(project, "jwks:show")

    assert ended.returncode == 0 and "Ed25519" in ended.stdout and " 2048 " in ended.stdout
