"""The production server with a real identity provider, and the settings of `docs/providers.md`."""

import json
import re

import pytest

from package_tests.support.controllers import wait_until
from package_tests.support.oidc_provider import OidcProvider
from package_tests.support.servers import ROOT, free_port, production
from package_tests.support.signing import unb64

AUDIENCE = "https://orders.example.com"


@pytest.fixture(scope="module")
def provider():
    with OidcProvider() as running:
        yield running


@pytest.fixture(scope="module")
def server(provider, tmp_path_factory):
    settings = settings_of_the_page(provider.issuer)
    log = tmp_path_factory.mktemp("server") / "log"
    with production(free_port(), log, **settings, WEB_CONCURRENCY="1", JWKS_COOLDOWN="1") as running:
        wait_until(lambda: "server_ready" in running.output())
        yield running


def settings_of_the_page(issuer):
    """Return the settings under "Another provider", with the placeholders replaced."""
    section = (ROOT / "docs" / "providers.md").read_text().partition("## Another provider\n")[2]
    block = re.search(r"```text\n(.*?)```", section, re.DOTALL)[1]
    settings = dict(line.split("=", 1) for line in block.splitlines())
    placeholders = {"JWT_ISSUER": issuer, "JWT_AUDIENCE": AUDIENCE}
    assert all(settings[name].startswith("<") for name in placeholders)
    return settings | placeholders


def get(server, token):
    status, _, body = server.get("/protected", {"Authorization": f"Bearer {token}"})
    return status, json.loads(body)


def header_of(token):
    return json.loads(unb64(token.partition(".")[0]))


def test_access_token_of_a_real_provider_is_accepted(provider, server):
    token = provider.token(AUDIENCE)
    status, body = get(server, token)

    assert header_of(token)["typ"] == "at+jwt"
    assert (status, body["user"]["sub"], body["user"]["scope"]) == (200, "gateway", "read:orders")


def test_access_token_of_a_real_provider_for_another_audience_is_rejected(provider, server):
    status, body = get(server, provider.token("https://billing.example.com"))

    assert (status, body["details"]) == (401, "The token is for another audience")


def test_rotation_of_a_real_provider_is_followed(provider, server):
    before = provider.token(AUDIENCE)
    assert get(server, before)[0] == 200

    kid = provider.rotate()
    after = provider.token(AUDIENCE)
    assert header_of(after)["kid"] == kid != header_of(before)["kid"]
    assert get(server, after)[0] == 200
    assert get(server, after)[0] == 200
    wait_until(lambda: get(server, before)[0] == 401)  # its key is withdrawn; 503 is possible during the cooldown


def test_production_server_warns_of_an_issuer_on_loopback(provider, server):
    (line,) = [json.loads(line) for line in server.output().splitlines() if "server_issuer_on_loopback" in line]

    assert (line["level"], line["issuer"]) == ("warning", provider.issuer)
