"""The HTTP interface of the development console, and requests from other sites."""

import json
import re
import shutil
from base64 import b64encode

import pytest

from package_tests.support.gateway import GATEWAY
from package_tests.support.project import copy_of_the_project, craft, serve
from package_tests.support.servers import free_port, production
from package_tests.support.signing import unb64
from package_tests.support.wsgi_client import request

READ = ("/console/state", "/console/history", "/console/settings", "/console/gateway")
WRITE = ("/console/token", "/console/sign", "/console/verify", "/console/send")
PATHS = ("/", "/console", *READ, *WRITE)
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


def send(server, body=None, **fields):
    """Return the status and the body of a response to a request that the console has sent."""
    headers = JSON | {"X-Console-Secret": secret_of(server)}
    given = json.dumps({"method": "GET", "path": "/protected"} | fields).encode()
    head, _, content = server.get("/console/send", headers, "POST", given)[2].partition(b"\n")
    return json.loads(head).get("status"), content


def rules(server, token):
    return post(server, "/console/verify", {"token": token})[1]["rules"]


def claims_of(token):
    return json.loads(unb64(token.split(".")[1]))


def test_send_returns_the_response_and_verify_the_rules(development):
    audience = f"http://127.0.0.1:{development.port}/"
    good = token(development, scope="read:orders", aud=audience, claims='{"plan": "gold"}')
    status, body = send(development, token=good)

    assert status == 200 and json.loads(body)["user"]["plan"] == "gold"
    assert all(rule["passed"] for rule in rules(development, good)) and len(rules(development, good)) == 12


def test_verify_returns_the_rule_that_failed(development):
    other = token(development, aud="https://another.example/")

    assert send(development, token=other)[0] == 401
    assert [rule["reason"] for rule in rules(development, other) if rule["passed"] is False] == ["wrong_audience"]


def test_sign_signs_the_given_claims_with_the_issuers_or_another_key(development):
    claims = claims_of(token(development, aud=f"http://127.0.0.1:{development.port}/")) | {"sub": "changed"}
    given = {"header": {"alg": "ES256", "typ": "JWT"}, "claims": claims}
    same = post(development, "/console/sign", given)[1]["token"]
    other = post(development, "/console/sign", given | {"other_key": True})[1]["token"]

    assert claims_of(same) == claims_of(other) == claims
    assert (send(development, token=same)[0], send(development, token=other)[0]) == (200, 401)
    assert [rule["reason"] for rule in rules(development, other) if rule["passed"] is False] == ["bad_signature"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"header": {}, "claims": {}},
        {"header": {"alg": "none"}, "claims": {}},
        {"header": {"alg": []}, "claims": {}},
        {"header": {"alg": "EdDSA"}, "claims": []},
        {"header": {"alg": "EdDSA"}, "claims": '{"a": NaN}'},
    ],
)
def test_sign_returns_a_problem_with_invalid_fields(development, fields):
    status, result = post(development, "/console/sign", fields)

    assert (status, set(result)) == (200, {"problem"})


def test_verify_returns_the_result_for_the_scopes_of_a_route(development):
    signed = token(development, aud=f"http://127.0.0.1:{development.port}/", scope="read:orders")
    for scopes, passed in ((["read:orders"], True), (["read:orders", "write:orders"], False)):
        found = post(development, "/console/verify", {"token": signed, "scopes": scopes})[1]["rules"]
        assert (len(found), found[-1]["rule"], found[-1]["passed"]) == (13, "scopes", passed)
    assert found[-1]["reason"] == "insufficient_scope"
    for scopes in ("read:orders", [1], {"a": "b"}):
        assert set(post(development, "/console/verify", {"token": signed, "scopes": scopes})[1]) == {"problem"}


def test_send_sends_bytes_in_base64_up_to_the_limit_of_the_route(development):
    content = b64encode(b"\x00" * 2_000_000).decode()  # more than MAX_BODY_BYTES
    assert send(development, method="POST", body_base64=content)[0] == 405
    for text in ("!", "abc", "é"):
        given = {"method": "POST", "path": "/protected", "body_base64": text}
        assert post(development, "/console/send", given)[1] == {"problem": "Body: expected base64."}


@pytest.mark.parametrize(
    "headers", [{"Host": "x"}, {"A\r\nB": "c"}, {"A": "b\r\nC: d"}, {"A": 1}, [], {"content-length": "9"}]
)
def test_send_rejects_headers_that_would_change_the_framing(development, headers):
    _, result = post(development, "/console/send", {"method": "GET", "path": "/protected", "headers": headers or [1]})

    assert set(result) == {"problem"}


def history(server):
    body = server.get("/console/history", {"X-Console-Secret": secret_of(server)})[2]
    return json.loads(body)["entries"]


def test_history_has_rejected_requests_without_their_secrets(development):
    signed = token(development, aud="https://another.example/")
    path = f"/<img src=x onerror=alert(1)>/{signed}"
    development.get("/protected?password=hunter2", {"Authorization": f"Bearer {signed}", "Cookie": "sid=my-cookie"})
    development.get(path.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E"))
    unknown, rejected = history(development)[:2]

    assert (rejected["path"], rejected["status"], rejected["reason"]) == ("/protected", 401, "wrong_audience")
    assert unknown["status"] == 404 and "no route matches" in "".join(unknown["lines"])
    text = json.dumps(history(development))
    assert signed.rpartition(".")[2] not in text and "hunter2" not in text and "my-cookie" not in text
    assert secret_of(development) not in text and "/console/" not in text


def test_history_has_no_requests_of_the_console_itself(development):
    development.get("/health/live?marked")
    for path in ("/", "/console", "/console/state"):
        development.get(path, {"X-Console-Secret": secret_of(development)})

    assert history(development)[0]["path"] == "/health/live"


def test_history_keeps_200_requests(development):
    for _ in range(203):
        development.get("/health/live")

    assert len(history(development)) == 200


def test_history_has_log_lines_and_the_exception_and_the_error_page_links_to_it(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    routes = project / "routes" / "web.py"
    (project / "app" / "controllers" / "BrokenController.py").write_text(
        "import logging\nfrom masonite.controllers import Controller\n\n\n"
        "class BrokenController(Controller):\n    def show(self):\n"
        "        logging.getLogger('app').warning('login with password=%s at db://me:pw12@db/x', 'hunter' + '2')\n"
        "        raise RuntimeError('broken on purpose')\n"
    )
    routes.write_text(
        routes.read_text() + "\nfrom app.controllers.BrokenController import BrokenController\n"
        "ROUTES.append(Route.get('/broken', BrokenController.show).middleware('public'))\n"
    )
    with serve(project, tmp_path / "log", "--dont-reload", APP_DEBUG="True", APP_KEY="k" * 43) as server:
        status, _, page = server.get("/broken", {"Accept": "text/html"})
        entry = history(server)[0]
        secret = {"X-Console-Secret": secret_of(server)}
        settings = server.get("/console/settings", secret)[2].decode()

    assert status == 500 and f'href="/console#history={entry["rid"]}"' in page.decode()
    assert secret["X-Console-Secret"] not in page.decode()
    assert entry["exception"]["message"] == "broken on purpose"
    assert entry["exception"]["frames"][-1]["file"] == "app/controllers/BrokenController.py"
    assert any("raise RuntimeError" in line for _, line in entry["exception"]["frames"][-1]["source"])
    assert "login with" in entry["lines"][0] and "hunter2" not in str(entry) and "pw12" not in str(entry)
    assert "k" * 43 not in settings


def test_gateway_returns_how_to_create_a_project_or_what_an_export_would_change(project, development):
    def gateway():
        return json.loads(development.get("/console/gateway", {"X-Console-Secret": secret_of(development)})[2])

    assert gateway() == {"folder": None}
    folder = project / "gateway"
    assert craft(project, "zuplo:export", str(folder)).returncode == 0
    try:
        (folder / "config" / "policies.json").unlink()
        assert [each["path"] for each in gateway()["files"]] == ["config/policies.json"]
        (folder / "config" / "routes.oas.json").write_text("{")
        assert set(gateway()) == {"problem"}
    finally:
        shutil.rmtree(folder)


def test_state_returns_keys_and_routes(development):
    state = json.loads(development.get("/console/state", {"X-Console-Secret": secret_of(development)})[2])

    assert {key["algorithm"] for key in state["keys"]} == {"EdDSA", "ES256", "PS256, RS256"}
    assert {key["state"] for key in state["keys"]} == {"fresh"}
    assert state["issuers"][0]["failure"] == "" and state["issuers"][0]["next"] > 0
    assert list(state["document"]["paths"]) == ["/protected", "/health/live", "/health/ready", "/openapi.json"]


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
    given = json.dumps({"method": "GET", "path": "/protected", "token": "a"} | fields).encode()
    headers = JSON | {"X-Console-Secret": secret_of(development)}
    status, _, body = development.get("/console/send", headers, "POST", given)
    result = json.loads(body.partition(b"\n")[0])

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
def test_console_rejects_requests_from_another_site(development, headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"X-Console-Secret": secret_of(development)}
    fields = b'{"ttl": 300, "alg": "EdDSA", "method": "GET", "path": "/protected"}'

    assert {development.get(path, named)[0] for path in READ} <= {400, 403}
    assert {development.get(path, JSON | named, "POST", fields)[0] for path in WRITE} <= {400, 403}


@pytest.mark.parametrize("given", ["", "x", "é", "SECRET+x", "SECRET-x"])
def test_console_rejects_requests_without_its_secret(development, given):
    secret = secret_of(development)
    given = given.replace("SECRET+x", secret + "x").replace("SECRET-x", secret[:-1])
    headers = {"X-Console-Secret": given.encode("latin-1")}
    status, _, body = development.get("/console/token", JSON | headers, "POST", b'{"ttl": 300, "alg": "EdDSA"}')

    assert (status, json.loads(body)["details"]) == (403, "Open the URL of the console that craft serve has printed")
    assert {development.get(path, headers)[0] for path in READ} == {403}
    assert {development.get(path, JSON | headers, "POST", b"{}")[0] for path in WRITE} == {403}
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
    assert {development.get(path, {name: ""})[0] for path in ("/", "/console", *READ)} == {400}


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
        headers = JSON | {"X-Console-Secret": secret_of(server), "Host": f"[::1]:{server.port}"}
        body = server.get("/console/send", headers, "POST", json.dumps(fields).encode())[2]

    assert json.loads(body.partition(b"\n")[0])["status"] == 200


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
    assert [request(application, "GET", path).status for path in PATHS] == [404] * len(PATHS)

    settings = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "*", "APP_ENV": "local"}
    with serve(project, tmp_path / "log", "--dont-reload", **settings) as server:
        assert [server.get(path)[0] for path in PATHS] == [404] * len(PATHS)
        good = {"Authorization": f"Bearer {GATEWAY.token()}", "Via": "1.1 gateway", "X-Forwarded-For": "192.0.2.1"}
        assert server.get("/protected", good)[0] == 200  # a gateway may forward to it


def test_routes_list_omits_the_console(project):
    listed = craft(project, "routes:list")

    assert "/protected" in listed.stdout and "console" not in listed.stdout
