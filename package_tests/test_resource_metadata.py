"""Resource metadata (RFC 9728), built from the configured URL and never from the Host of a request."""

import json
import sys

import pytest

from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project, craft
from package_tests.support.servers import Server, free_port, production
from package_tests.support.wsgi_client import request
from zuplo_origin.settings import read_settings

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def test_metadata_is_off_without_a_public_url(application):
    assert request(application, "GET", WELL_KNOWN).status == 404
    assert "resource_metadata" not in request(application, "GET", "/protected").headers["www-authenticate"]


def test_metadata_is_served_and_every_challenge_has_its_url(tmp_path):
    issuer = Issuer()
    settings = {
        "JWT_ISSUER": f"{issuer.name},kubernetes/serviceaccount",  # the second is no URL, and so is not listed
        "JWKS_URL": f"{issuer.jwks_url},{issuer.jwks_url}",
        "JWT_AUDIENCE": "*",
        "PUBLIC_URL": "https://api.example.com/v1",
    }
    with production(free_port(), tmp_path / "log", **settings) as server:
        evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        responses = [server.get(path, evil) for path in (WELL_KNOWN, f"{WELL_KNOWN}/v1")]
        missing = server.get("/protected", evil)
        invalid = server.get("/protected", {"Authorization": "Bearer a.b.c"})
        double = server.get("/protected", {"Authorization": "Bearer a, Bearer b"})
        good = server.get("/protected", {"Authorization": f"Bearer {issuer.token()}"})
        document = json.loads(server.get("/openapi.json")[2])
    issuer.close()

    for status, headers, body in responses:
        assert (status, headers["content-type"]) == (200, "application/json; charset=utf-8")
        assert json.loads(body) == {
            "resource": "https://api.example.com/v1",
            "resource_name": "Zuplo origin",
            "authorization_servers": [issuer.name],
            "bearer_methods_supported": ["header"],
        }
    parameter = f'resource_metadata="https://api.example.com{WELL_KNOWN}/v1"'
    assert missing[1]["www-authenticate"] == f'Bearer realm="Zuplo origin", {parameter}'
    assert [response[0] for response in (missing, invalid, double)] == [401, 401, 400]
    assert all(response[1]["www-authenticate"].endswith(parameter) for response in (invalid, double))
    assert (good[0], "www-authenticate" in good[1]) == (200, False)
    assert WELL_KNOWN in document["paths"]


def test_metadata_has_the_scopes_of_all_routes(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    assert craft(project, "protected:make", "Orders", "--scope", "write:orders,read:orders").returncode == 0
    issuer = Issuer()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PUBLIC_URL": "https://api.example.com"}
    port = free_port()
    settings["PORT"] = str(port)
    with Server([sys.executable, "-m", "zuplo_origin.server"], port, tmp_path / "log", settings, project) as server:
        metadata = json.loads(server.get(WELL_KNOWN)[2])
        challenge = server.get("/orders")[1]["www-authenticate"]
    issuer.close()

    assert metadata["scopes_supported"] == ["read:orders", "write:orders"]
    assert challenge.endswith(f'resource_metadata="https://api.example.com{WELL_KNOWN}"')


@pytest.mark.parametrize(
    ("url", "metadata"),
    [
        ("https://api.example.com", "https://api.example.com" + WELL_KNOWN),
        ("https://api.example.com/", "https://api.example.com" + WELL_KNOWN),
        ("https://api.example.com:8443/v1/", f"https://api.example.com:8443{WELL_KNOWN}/v1/"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000" + WELL_KNOWN),
    ],
)
def test_metadata_url_is_derived_from_the_public_url(application, url, metadata):
    config = application.make("config")
    before = config.get("application.public_url")
    config.set("application.public_url", url)
    try:
        assert read_settings(config).resource_metadata == metadata
    finally:
        config.set("application.public_url", before)
