"""Production does not accept the development issuer: neither its URL nor its keys."""

import json
import time

import pytest

from package_tests.support.applications import project_application
from package_tests.support.issuer import Issuer
from package_tests.support.wsgi_client import request
from zuplo_origin.dev.issuer import IssuerKeys, IssuerServer
from zuplo_origin.jwks.development import has_development_key, is_development_issuer


@pytest.fixture
def copied():
    """Yield an issuer that publishes a copy of development keys under the path of a gateway, and these keys."""
    keys, issuer = IssuerKeys.generated(), Issuer([])
    issuer.document = keys.public(["EdDSA"])
    yield issuer, keys
    issuer.close()


@pytest.mark.parametrize(("environment", "status"), [("production", 503), ("testing", 200)])
def test_keys_of_a_development_issuer_are_accepted_in_development_alone(copied, environment, status):
    issuer, keys = copied
    application = project_application.__wrapped__(JWT_ISSUER=issuer.name, JWT_AUDIENCE="orders", APP_ENV=environment)
    token = keys.sign({"iss": issuer.name, "aud": "orders", "exp": int(time.time()) + 60}, "EdDSA")

    assert request(application, "GET", "/protected", {"Authorization": f"Bearer {token}"}).status == status


def test_mark_of_a_key_is_found_in_key_sets_alone(copied):
    issuer, _ = copied
    (key,) = issuer.document["keys"]

    assert has_development_key(json.dumps(issuer.document).encode())
    assert has_development_key(json.dumps({"keys": [{"kid": "a"}, 5, key]}).encode())
    for other in (
        {"keys": [{"kid": "a"}]},
        {"keys": [{"kid": "a", "x": key["kid"]}]},
        {"keys": key["kid"]},
        [key["kid"]],
    ):
        assert not has_development_key(json.dumps(other).encode())
    assert not has_development_key(b"development-")


def test_keys_of_an_older_file_are_marked():
    keys = IssuerKeys([{"kid": "abc", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": "x"}])

    assert keys.public(["EdDSA"])["keys"][0]["kid"] == "development-abc"


def test_url_of_a_development_issuer_is_found_on_any_host():
    server = IssuerServer({"keys": []})
    server.close()

    assert is_development_issuer(server.issuer)
    assert is_development_issuer("https://tunnel.example/__zuplo/development-issuer/.well-known/jwks.json")
    assert not is_development_issuer("https://gateway.example/__zuplo/issuer")
    assert not is_development_issuer("https://[::1")
