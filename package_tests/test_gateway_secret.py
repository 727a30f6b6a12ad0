"""The secret of the gateway: asked for before routing, by the production server and by the settings."""

import json
from types import SimpleNamespace

import pytest

from package_tests.support.applications import EchoController, Route, application, configuration
from package_tests.support.controllers import connect, read_response, wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.servers import free_port, production
from package_tests.support.signing import Key
from zuplo_origin.gateway import Gateway
from zuplo_origin.settings import BadSettings, read_settings

OLD, NEW = "old-secret-0123456789-0123456789-", "new-secret-0123456789-0123456789-"
REJECTED = {"error": "Not from the gateway"}
LIMITS = {"JWT_ISSUER": "https://gw.example", "JWT_AUDIENCE": "*"}


@pytest.fixture(scope="module")
def issuer():
    made = Issuer([Key("EdDSA", "k-EdDSA")])
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(issuer, tmp_path_factory):
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "WEB_CONCURRENCY": "1", "METRICS_ENABLED": "True"}
    settings |= {"GATEWAY_SECRET": f"{OLD},{NEW}"}
    with production(free_port(), tmp_path_factory.mktemp("gateway") / "log", **settings) as running:
        wait_until(lambda: running.get("/health/ready")[0] == 200)
        yield running


def bearer(issuer, **headers):
    return {"Authorization": f"Bearer {issuer.token()}"} | {n.replace("_", "-"): v for n, v in headers.items()}


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_request_with_a_secret_and_a_token_is_accepted(server, issuer, secret):
    assert server.get("/protected", bearer(issuer, backend_secret=secret))[0] == 200
    assert server.get("/openapi.json", {"Backend-Secret": secret})[0] == 200


def test_secret_does_not_replace_the_token(server):
    status, _, body = server.get("/protected", {"backend-secret": OLD})

    assert (status, json.loads(body)) == (401, {"error": "No token provided"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/protected"),
        ("GET", "/openapi.json"),
        ("GET", "/nope"),
        ("DELETE", "/protected"),
        ("OPTIONS", "/protected"),
        ("GET", "/metrics"),
        ("GET", "/%ff"),
        ("GET", "/health"),
        ("GET", "/health/live/"),
        ("GET", "/health/live/../../protected"),
    ],
)
def test_request_without_the_secret_is_401_whatever_its_route(server, issuer, method, path):
    status, headers, body = server.get(path, bearer(issuer), method)

    assert (status, json.loads(body)) == (401, REJECTED)
    assert "www-authenticate" not in headers and headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "sent",
    [
        "",
        OLD[:-1],
        f"{OLD}x",
        OLD.upper(),
        f"{OLD},{NEW}",
        f"{OLD},{OLD}",
        f"{OLD}, {OLD}",
        f'"{OLD}"',
        f"Bearer {OLD}",
        "é" * 32,
    ],
)
def test_another_secret_is_401(server, issuer, sent):
    assert server.get("/protected", bearer(issuer, backend_secret=sent))[0] == 401


@pytest.mark.parametrize("lines", [f"backend-secret: {OLD}\r\nbackend-secret: {OLD}", f"backend_secret: {OLD}"])
def test_secret_sent_twice_or_in_another_header_is_401(server, lines):
    with connect(server.port) as connection:
        connection.sendall(f"GET /openapi.json HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode())
        status, body = read_response(connection)

    assert (status, json.loads(body)) == (401, REJECTED)


def test_health_routes_need_no_secret(server):
    assert [server.get(path)[0] for path in ("/health/live", "/health/ready")] == [200, 200]


def test_body_is_not_read_without_the_secret(server):
    with connect(server.port) as connection:
        connection.sendall(b"POST /protected HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert read_response(connection)[0] == 401


def test_rejection_is_logged_and_counted_and_no_secret_is_logged(server):
    def counted():
        text = server.get("/metrics", {"backend-secret": NEW})[2].decode()
        return float(text.split('jwt_refusals_total{reason="not_from_gateway"} ')[1].split()[0])

    before = counted()
    server.get("/protected", {"backend-secret": "x-" + OLD})
    assert counted() == before + 1
    wait_until(lambda: '"reason":"not_from_gateway"' in server.output())
    assert OLD not in server.output() and NEW not in server.output()


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "short",
        "x" * 31,
        f"{OLD},{OLD}",
        f"{OLD},{NEW},{'y' * 32}",
        f"{OLD},short",
        "é" * 32,
        "x" * 20 + " " + "x" * 20,
        "x" * 32 + "\n" + "x" * 32,
    ],
)
def test_invalid_secret_is_a_problem_that_is_not_shown(value):
    with pytest.raises(BadSettings, match=r"GATEWAY_SECRET: invalid value \(not shown\)") as raised:
        read_settings(configuration(**LIMITS, GATEWAY_SECRET=value))
    assert value not in str(raised.value)


@pytest.mark.parametrize(("header", "other"), [("Authorization", ""), ("x-token", "X-Token"), ("backend-secret", "")])
def test_header_of_the_token_cannot_be_the_one_of_the_secret(header, other):
    settings = LIMITS | {"GATEWAY_SECRET": OLD, "JWT_HEADER": other or header}
    with pytest.raises(BadSettings, match=r"GATEWAY_SECRET_HEADER: .*another header than JWT_HEADER"):
        read_settings(configuration(**settings, GATEWAY_SECRET_HEADER=header))


def test_header_of_the_secret_can_be_another(server):
    found = read_settings(configuration(**LIMITS, GATEWAY_SECRET=OLD, GATEWAY_SECRET_HEADER="X-Origin"))
    environ = {"HTTP_X_ORIGIN": OLD, "PATH_INFO": "/x"}

    assert found.gateway.accepts(type("Request", (), {"environ": environ}))
    assert read_settings(configuration(**LIMITS)).gateway is None


def test_server_reads_no_body_before_the_secret():
    made = application(Route.post("/x", EchoController.plain))
    made.bind("settings", SimpleNamespace(gateway=Gateway([OLD], "backend-secret"), max_body=8))
    request = {"REQUEST_METHOD": "POST", "PATH_INFO": "/x"}

    assert made.admit({**request}) is None
    assert made.admit({**request, "HTTP_BACKEND_SECRET": OLD}) == 8
