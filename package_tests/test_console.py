"""The HTTP interface of the development console, and requests from other sites."""

import json
import re

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


def secret_of(server):
    """Return the secret in the URL of the console that the server has printed."""
    return re.search(rf"Console: http://(?:127\.0\.0\.1|localhost):{server.port}/#([\w-]{{43}})\n", server.output())[1]


def post(server, path, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("X-Console-Secret", secret_of(server))
    status, _, content = server.get(path, JSON | named, "POST", json.dumps(body).encode())
    return status, json.loads(content)


def token(server, **fields):
    status, result = post(server, "/console/token", {"ttl": 300, "alg": "EdDSA", "sub": "alice"} | fields)
    assert status == 200
    return result["token"]


def test_send_returns_request_response_and_rules(development):
    audience = f"http://127.0.0.1:{development.port}/"
    good = token(development, scope="read:orders", aud=audience, claims='{"plan": "gold"}')
    status, result = post(development, "/console/send", {"method": "GET", "path": "/protected", "token": good})

    assert (status, result["status"]) == (200, 200)
    assert '"plan": "gold"' in result["response"] and '"scope": "read:orders"' in result["response"]
    assert f"Authorization: Bearer {good}" in result["request"]
    assert all(rule["passed"] for rule in result["rules"]) and len(result["rules"]) == 12


def test_send_returns_the_rule_that_failed(development):
    other = token(development, aud="https://another.example/")
    _, result = post(development, "/console/send", {"method": "GET", "path": "/protected", "token": other})

    assert result["status"] == 401
    assert [rule["reason"] for rule in result["rules"] if rule["passed"] is False] == ["wrong_audience"]


def test_state_returns_keys_and_routes(development):
    state = json.loads(development.get("/console/state", {"X-Console-Secret": secret_of(development)})[2])

    assert {key["algorithm"] for key in state["keys"]} == {"EdDSA", "ES256", "PS256, RS256"}
    assert {key["state"] for key in state["keys"]} == {"fresh"}
    assert [route["path"] for route in state["routes"]] == [
        "/protected", "/health/live", "/health/ready", "/openapi.json"
    ]  # fmt: skip
    assert state["routes"][0]["guarded"] and not state["routes"][1]["guarded"]


@pytest.mark.parametrize(
    "fields",
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
def test_token_returns_a_problem_with_invalid_fields(development, fields):
    status, result = post(development, "/console/token", {"ttl": 300, "alg": "EdDSA"} | fields)

    assert (status, set(result)) == (200, {"problem"})


@pytest.mark.parametrize(
    "fields",
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
def test_send_returns_a_problem_with_invalid_fields(development, fields):
    status, result = post(development, "/console/send", {"method": "GET", "path": "/protected", "token": "a"} | fields)

    assert status == 200 and (set(result) == {"problem"} or result["status"] == 404)


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
def test_token_rejects_a_request_from_another_site(development, headers):
    status, result = post(development, "/console/token", {"ttl": 300, "alg": "EdDSA"}, **headers)

    assert status in (400, 403) and "token" not in result


@pytest.mark.parametrize("given", ["", "x", "é", "SECRET+x", "SECRET-x"])
def test_console_rejects_requests_without_its_secret(development, given):
    secret = secret_of(development)
    given = given.replace("SECRET+x", secret + "x").replace("SECRET-x", secret[:-1])
    headers = {"X-Console-Secret": given.encode("latin-1")}
    status, _, body = development.get("/console/token", JSON | headers, "POST", b'{"ttl": 300, "alg": "EdDSA"}')

    assert (status, json.loads(body)["details"]) == (403, "Open the URL of the console that craft serve has printed")
    assert development.get("/console/state", headers)[0] == 403
    assert development.get("/console/send", JSON | headers, "POST", b"{}")[0] == 403
    cookie = {"Cookie": f"X-Console-Secret={secret}; secret={secret}"}
    assert development.get(f"/console/state?secret={secret}", cookie)[0] == 403


def test_secret_is_in_no_response(development):
    secret = secret_of(development).encode()

    assert secret not in development.get("/")[2]
    assert secret not in development.get("/openapi.json")[2]
    assert b"set-cookie" not in str(development.get("/")[1]).encode()


@pytest.mark.parametrize(
    "name",
    [
        *("Via", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "zp-rid"),
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "x-forwarded"),
    ],
)
def test_request_through_a_proxy_is_rejected(development, name):
    assert development.get("/protected", {name: "1.1 x"})[0] == 400
    assert development.get("/", {name: ""})[0] == 400


def test_token_rejects_the_content_types_of_a_form(development):
    body = json.dumps({"ttl": 300, "alg": "EdDSA"}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": kind, "X-Console-Secret": secret_of(development)}
        assert development.get("/console/token", headers, "POST", body)[0] == 415


def test_token_rejects_fields_in_the_query(development):
    headers = {"X-Console-Secret": secret_of(development)}
    assert development.get("/console/token?ttl=300&alg=EdDSA", headers, "POST")[0] == 415


def test_token_accepts_claims_as_an_object_or_as_json_text(development):
    given = {"nested": {"list": [1, None, "é"]}}

    for claims in (given, json.dumps(given)):
        payload = json.loads(unb64(token(development, claims=claims).split(".")[1]))
        assert payload["nested"] == given["nested"] and payload["sub"] == "alice"


def test_send_connects_to_the_address_that_the_server_listens_on(project, tmp_path):
    fields = {"method": "GET", "path": "/health/live"}
    with serve(project, tmp_path / "log", "--dont-reload", "--host", "localhost") as server:
        _, result = post(server, "/console/send", fields, Host=f"[::1]:{server.port}")

    assert result["status"] == 200


def test_page_has_a_content_security_policy_with_a_new_nonce(development):
    status, headers, body = development.get("/")

    policy = headers["content-security-policy"]
    assert status == 200 and "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert body.count(b"nonce=") == body.count(f'nonce="{nonce}"'.encode()) == 2
    assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
    assert development.get("/")[1]["content-security-policy"] != policy


def test_console_is_absent_in_production(tmp_path):
    settings = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "https://api.test/*"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        for path in PATHS:
            assert server.get(path)[0] == server.get(path, method="POST")[0] == 404


def test_console_is_absent_in_tests_and_with_a_configured_issuer(application, project, tmp_path):
    assert [request(application, "GET", path).status for path in PATHS] == [404] * 4

    settings = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "*", "APP_ENV": "local"}
    with serve(project, tmp_path / "log", "--dont-reload", **settings) as server:
        assert [server.get(path)[0] for path in PATHS] == [404] * 4
        good = {"Authorization": f"Bearer {GATEWAY.token()}", "Via": "1.1 gateway", "X-Forwarded-For": "192.0.2.1"}
        assert server.get("/protected", good)[0] == 200  # a gateway may forward to it


def test_routes_list_omits_the_console(project):
    listed = craft(project, "routes:list")

    assert "/protected" in listed.stdout and "console" not in listed.stdout
