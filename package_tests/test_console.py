"""The development console: over HTTP, as a browser and as another web site would ask."""

import json

import pytest

from package_tests.support.gateway import GATEWAY
from package_tests.support.project import copy_of_the_project, craft, serve
from package_tests.support.servers import free_port, production
from package_tests.support.signing import unb64
from package_tests.support.wsgi_client import request

PATHS = ("/", "/console/state", "/console/token", "/console/send")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def development(project, tmp_path_factory):
    with serve(project, tmp_path_factory.mktemp("log") / "log", "--dont-reload") as server:
        yield server


def post(server, path, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, answered = server.get(path, JSON | named, "POST", json.dumps(body).encode())
    return status, json.loads(answered)


def token(server, **asked):
    status, told = post(server, "/console/token", {"ttl": 300, "alg": "EdDSA", "sub": "somebody"} | asked)
    assert status == 200
    return told["token"]


def test_it_mints_sends_and_walks(development):
    good = token(
        development, scope="read:orders", aud=f"http://127.0.0.1:{development.port}/", claims='{"plan": "gold"}'
    )
    status, sent = post(development, "/console/send", {"method": "GET", "path": "/protected", "token": good})

    assert (status, sent["status"]) == (200, 200)
    assert '"plan": "gold"' in sent["answer"] and '"scope": "read:orders"' in sent["answer"]
    assert f"Authorization: Bearer {good}" in sent["request"]
    assert all(rule["passed"] for rule in sent["walk"]) and len(sent["walk"]) == 12


def test_the_walk_names_the_rule_that_failed(development):
    other = token(development, aud="https://another.example/")
    _, sent = post(development, "/console/send", {"method": "GET", "path": "/protected", "token": other})

    assert sent["status"] == 401
    assert [rule["reason"] for rule in sent["walk"] if rule["passed"] is False] == ["wrong_audience"]


def test_it_tells_keys_and_routes_as_they_are(development):
    state = json.loads(development.get("/console/state")[2])

    assert {key["algorithm"] for key in state["keys"]} == {"EdDSA", "ES256", "PS256, RS256"}
    assert {key["state"] for key in state["keys"]} == {"fresh"}
    assert [route["path"] for route in state["routes"]] == [
        "/protected", "/health/live", "/health/ready", "/openapi.json"
    ]  # fmt: skip
    assert state["routes"][0]["guarded"] and not state["routes"][1]["guarded"]


@pytest.mark.parametrize(
    "asked",
    [
        {"ttl": "soon"},
        {"ttl": None},
        {"alg": "HS256"},
        {"alg": []},
        {"alg": "none"},
        {"ttl": 10**12},
        {"claims": "[]"},
        {"claims": "{"},
        {"claims": 5},
        {"claims": "[" * 100_000},
        {"claims": '{"a":' * 20_000},
        {"claims": '{"a": NaN}'},
        {"claims": '{"a": 1e999}'},
    ],
)
def test_what_cannot_be_minted_is_told(development, asked):
    status, told = post(development, "/console/token", {"ttl": 300, "alg": "EdDSA"} | asked)

    assert (status, set(told)) == (200, {"problem"})


@pytest.mark.parametrize(
    "asked",
    [
        {"path": "protected"},
        {"path": "/a b"},
        {"path": "/a\r\nX: y"},
        {"path": "//[/"},
        {"path": "/orders/{id}"},
        {"path": "/console/send"},
        {"method": "GET /"},
        {"method": ""},
        {"method": "é"},
        {"method": "TRACE"},
        {"token": "a" * 20_000},
        {"token": "a\r\nX: y"},
        {"token": "é"},
    ],
)
def test_what_cannot_be_sent_is_told(development, asked):
    status, told = post(development, "/console/send", {"method": "GET", "path": "/protected", "token": "a"} | asked)

    assert status == 200 and (set(told) == {"problem"} or told["status"] == 404)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://another.example"},
        {"Origin": "null"},
        {"Host": "another.example"},
        {"X_Forwarded_For": "192.0.2.1"},
    ],
)
def test_no_other_web_site_can_use_it(development, headers):
    status, told = post(development, "/console/token", {"ttl": 300, "alg": "EdDSA"}, **headers)

    assert status in (400, 403) and "token" not in told


def test_a_form_of_another_web_site_is_no_request_of_the_consoles(development):
    body = json.dumps({"ttl": 300, "alg": "EdDSA"}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert development.get("/console/token", {"Content-Type": kind}, "POST", body)[0] == 415


def test_fields_of_a_query_are_no_request_of_the_consoles(development):
    assert development.get("/console/token?ttl=300&alg=EdDSA", method="POST")[0] == 415


def test_claims_are_taken_as_they_are_written(development):
    given = {"nested": {"list": [1, None, "é"]}}
    minted = [token(development, claims=claims) for claims in (given, json.dumps(given))]

    for made in minted:
        claims = json.loads(unb64(made.split(".")[1]))
        assert claims["nested"] == given["nested"] and claims["sub"] == "somebody"


def test_it_sends_to_where_the_server_listens(project, tmp_path):
    with serve(project, tmp_path / "log", "--dont-reload", "--host", "localhost") as server:
        _, sent = post(server, "/console/send", {"method": "GET", "path": "/health/live"}, Host=f"[::1]:{server.port}")

    assert sent["status"] == 200


def test_its_page_is_framed_by_nobody_and_loads_nothing(development):
    status, headers, body = development.get("/")

    policy = headers["content-security-policy"]
    assert status == 200 and "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert body.count(b"nonce=") == body.count(f'nonce="{nonce}"'.encode()) == 2
    assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
    assert development.get("/")[1]["content-security-policy"] != policy


def test_in_production_it_does_not_exist(tmp_path):
    settings = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "https://api.test/*"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        for path in PATHS:
            assert server.get(path)[0] == server.get(path, method="POST")[0] == 404


def test_nor_in_tests_nor_where_an_issuer_is_named(application, project, tmp_path):
    assert [request(application, "GET", path).status for path in PATHS] == [404] * 4

    settings = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "*", "APP_ENV": "local"}
    with serve(project, tmp_path / "log", "--dont-reload", **settings) as server:
        assert [server.get(path)[0] for path in PATHS] == [404] * 4


def test_routes_list_knows_nothing_of_it(project):
    listed = craft(project, "routes:list")

    assert "/protected" in listed.stdout and "console" not in listed.stdout
