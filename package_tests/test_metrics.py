"""Metrics over HTTP, of several processes, with labels that clients cannot choose."""

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from package_tests.support.controllers import Controller, project_with, wait_until
from package_tests.support.database import SAFE, sqlite_details
from package_tests.support.issuer import Issuer, send
from package_tests.support.project import craft
from package_tests.support.servers import ROOT, Server, free_port, production
from package_tests.support.signing import Key
from package_tests.support.wsgi_client import request
from zuplo_origin.gateway import GatewayReason
from zuplo_origin.jwt.reasons import Reason

DATABASE = """
from masoniteorm.connections import ConnectionResolver

DATABASES = {{"default": "main", "main": {}}}
DB = ConnectionResolver().set_connection_details(DATABASES)
"""
KINDS = ("begin", "insert", "commit", "update", "rollback", "select", "delete", "other")
NOW = int(time.time())
SLOW = Controller(
    "SlowController",
    """
import os
import time

from masonite.controllers import Controller
from masoniteorm.exceptions import QueryException

from config.database import DB


def wait(name):
    open(f"storage/{name}-begins", "w").close()
    while not os.path.exists(f"storage/{name}-ends"):
        time.sleep(0.01)


class SlowController(Controller):
    def wait(self):
        wait("request")
        return {}

    def stream(self):
        yield "first"
        wait("stream")
        yield "last"

    def broken(self):
        yield "first"
        raise RuntimeError

    def error(self):
        raise RuntimeError

    def rows(self):
        def rows():
            return DB.get_query_builder().table("rows")

        with DB.transaction():
            rows().create({"name": "evil-6"})
        DB.begin_transaction()
        rows().where("name", "evil-6").update({"name": "b"})
        DB.rollback()
        rows().where("name", "evil-6").first()
        list(rows().chunk(1))
        rows().where("name", "evil-6").delete()
        try:
            DB.get_query_builder().table("nowhere").first()
        except QueryException:
            DB.statement(" /* evil-7 */ SELECT 1")
            DB.statement("PRAGMA user_version")
        return {}
""",
    """[
    Route.get("/wait", SlowController.wait).middleware("public"),
    Route.get("/stream", SlowController.stream).middleware("public"),
    Route.get("/broken", SlowController.broken).middleware("public"),
    Route.get("/error", SlowController.error).middleware("public"),
    Route.get("/rows", SlowController.rows).middleware("public"),
]""",
)


@pytest.fixture(scope="module")
def gateway():
    made = Issuer([Key("EdDSA", "k-EdDSA"), Key("ES256", "k-ES256")])
    yield made
    made.close()


@pytest.fixture(scope="module")
def gone():
    """An issuer that responds with 500 to every request."""
    made = Issuer([Key("EdDSA", "gone")])
    made.behave = lambda handler: send(handler, 500, b"")
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(gateway, gone, tmp_path_factory):
    """The production server of a project with slow routes, and one that requires a scope."""
    folder = tmp_path_factory.mktemp("metrics")
    project = project_with(SLOW, folder / "project")
    (project / "config/database.py").write_text(DATABASE.format(sqlite_details(folder)))
    with open(project / "config/providers.py", "a") as file:
        file.write(SAFE)
    with closing(sqlite3.connect(folder / "test.sqlite3")) as connection:
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT)")
    assert craft(project, "protected:make", "Orders", "--scope", "read:orders").returncode == 0
    settings = {
        "JWT_ISSUER": f"{gateway.name},{gone.name}",
        "JWT_AUDIENCE": "https://api.test/*",
        "JWT_ALGORITHMS": "EdDSA",
        "JWT_REQUIRED_CLAIMS": "account=acme",
        "METRICS_ENABLED": "True",
        "TMPDIR": str(folder),
        "WEB_CONCURRENCY": "2",
        "PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "zuplo_origin.server"]
    with Server(command, int(settings["PORT"]), folder / "log", settings, project) as running:
        wait_until(lambda: running.output().count("jwks_first_keys") == 2)
        yield running


def samples(text):
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            found.setdefault((sample.name, *sorted(labels.items())), sample.value)
    return found


def counted(server, name, **labels):
    return samples(server.get("/metrics")[2]).get((name, *sorted(labels.items())), 0)


def rejections(gateway, gone):
    """Return a header that is rejected for each reason."""

    def token(algorithm="EdDSA", header=None, **claims):
        return "Bearer " + gateway.token(algorithm, header, **{"account": "acme"} | claims)

    return {
        "no_token": None,
        "several_tokens": "Bearer a, Bearer b",
        "too_large": "Bearer " + "a" * 9000,
        "malformed": "Bearer a.b",
        "algorithm_not_allowed": token("ES256"),
        "critical_header": token(header={"crit": ["x"]}),
        "wrong_type": token(header={"typ": "dpop+jwt"}),
        "unknown_issuer": token(iss="https://untrusted.example"),
        "unknown_key": token(header={"kid": "unknown"}),
        "bad_signature": token().rpartition(".")[0] + "." + token(jti="x").rpartition(".")[2],
        "expired": token(iat=1, exp=2),
        "not_yet_valid": token(nbf=NOW + 9999),
        "issued_in_future": token(iat=NOW + 9999),
        "wrong_audience": token(aud="another"),
        "missing_claim": token(exp=None),
        "invalid_claim": token(exp="soon"),
        "claim_mismatch": token(account="another"),
        "sender_constrained": token(cnf={}),
        "insufficient_scope": token(),
        "keys_unavailable": "Bearer " + gone.token(account="acme"),
    }


def test_rejection_is_counted_by_its_reason_over_all_processes(server, gateway, gone):
    cases = rejections(gateway, gone)
    assert set(cases) == {reason.value for reason in Reason}
    for reason, header in cases.items():
        path = "/orders" if reason == "insufficient_scope" else "/protected"
        server.get(path, {} if header is None else {"Authorization": header})

    for _ in range(6):  # each worker returns the same sums
        found = samples(server.get("/metrics")[2])
        counts = {reason: found["jwt_refusals_total", ("reason", reason)] for reason in cases}
        assert counts == dict.fromkeys(cases, 1)
    assert counted(server, "jwks_unknown_keys_total", issuer=gateway.name) == 1
    assert counted(server, "http_requests_total", method="GET", route="/protected", status="401") == 17
    assert counted(server, "http_requests_total", method="GET", route="/orders", status="403") == 1
    assert counted(server, "http_requests_total", method="GET", route="/protected", status="503") == 1


def test_accepted_token_is_timed_and_its_cache_lookup_counted(server, gateway):
    verified = counted(server, "jwt_verification_seconds_count", algorithm="EdDSA")
    misses = counted(server, "jwt_cache_total", outcome="miss")
    for number in range(10):
        token = gateway.token(account="acme", jti=str(number))
        assert server.get("/protected", {"Authorization": f"Bearer {token}"})[0] == 200
    assert counted(server, "jwt_verification_seconds_count", algorithm="EdDSA") == verified + 10
    assert counted(server, "jwt_cache_total", outcome="miss") == misses + 10

    token = gateway.token(account="acme", jti="again")
    for _ in range(12):
        server.get("/protected", {"Authorization": f"Bearer {token}"})
    assert counted(server, "jwt_cache_total", outcome="hit") >= 1


def test_keys_and_fetches_are_reported_by_issuer(server, gateway, gone):
    found = samples(server.get("/metrics")[2])

    assert found["jwks_keys", ("issuer", gateway.name)] == 1  # the algorithm of the other key is not allowed
    assert found["jwks_keys", ("issuer", gone.name)] == 0
    assert 0 < found["jwks_age_seconds", ("issuer", gateway.name)] < 120
    assert found["jwks_stale_seconds", ("issuer", gateway.name)] == 0
    assert found["jwks_fetches_total", ("issuer", gateway.name), ("outcome", "ok")] >= 2
    assert found["jwks_fetches_total", ("issuer", gone.name), ("outcome", "failed")] >= 2
    assert found["jwks_fetch_seconds_count", ("issuer", gateway.name)] >= 2


def test_request_and_stream_are_in_flight_until_they_end(server):
    storage = server.log.with_name("project") / "storage"
    storage.mkdir(exist_ok=True)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(server.get, "/wait"), threads.submit(server.get, "/stream")]
        wait_until(lambda: (storage / "request-begins").exists() and (storage / "stream-begins").exists())
        began = time.monotonic()
        assert counted(server, "http_requests_in_flight") == 3  # and the one for the metrics
        assert counted(server, "http_streams_open") == 1
        seconds = time.monotonic() - began
        for name in ("request", "stream"):
            (storage / f"{name}-ends").touch()
        assert [each.result()[0] for each in waiting] == [200, 200]

    wait_until(lambda: counted(server, "http_streams_open") == 0)
    assert counted(server, "http_requests_in_flight") == 1
    for route in ("/wait", "/stream"):
        assert counted(server, "http_request_duration_seconds_count", method="GET", route=route) == 1
        assert counted(server, "http_request_duration_seconds_sum", method="GET", route=route) >= seconds


def test_failed_requests_and_streams_are_not_in_flight(server):
    assert server.get("/error")[0] == 500
    with suppress(http.client.HTTPException, OSError):
        server.get("/broken")
    server.get("/stream", method="HEAD")
    server.get("/nope")
    server.get("/protected", method="POST", body=b"{}")

    wait_until(lambda: counted(server, "http_streams_open") == 0)
    wait_until(lambda: counted(server, "http_requests_in_flight") == 1)
    assert counted(server, "http_request_duration_seconds_count", method="GET", route="/error") == 1
    assert counted(server, "http_request_duration_seconds_count", method="GET", route="/broken") == 1


def test_database_statements_are_timed_by_connection_and_kind(server):
    for _ in range(4):  # by both workers
        assert server.get("/rows")[0] == 200
    found = samples(server.get("/metrics")[2])
    kinds = {kind: found.get(("db_query_seconds_count", ("connection", "main"), ("statement", kind))) for kind in KINDS}

    assert kinds == {kind: 4 for kind in KINDS} | {"begin": 8, "select": 12, "other": 8}
    seconds = found["db_query_seconds_sum", ("connection", "main"), ("statement", "commit")]
    assert 0 < seconds < 60


def test_no_label_has_a_value_that_a_client_sent(server, gateway):
    reasons = {each.value for each in (*Reason, *GatewayReason)}
    known = {
        gateway.name,
        "ok",
        "failed",
        "hit",
        "miss",
        "EdDSA",
        "other",
        "-",
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
        "main",
        *KINDS,
    } | reasons
    for method, path in (("X-EVIL", "/evil-1"), ("GET", "/evil-2?evil-3"), ("EVIL", "/protected"), ("OPTIONS", "/x")):
        server.get(path, {"Host": "evil-4", "X-Evil": "evil-5"}, method)
    text = server.get("/metrics")[2].decode()

    assert "evil" not in text.lower()
    values = {value for key in samples(text.encode()) for name, value in key[1:] if name not in ("issuer", "status")}
    routes = set(json.loads(server.get("/openapi.json")[2])["paths"]) | {"/metrics", "/openapi.json"}
    assert values - known - routes == set()


def test_alerts_and_dashboard_use_existing_metrics(server):
    text = server.get("/metrics")[2].decode()
    existing = set(re.findall(r"^# TYPE (\w+) ", text, re.M)) | {"queue_jobs"}  # counted when the first job is pushed
    rules = yaml.safe_load((ROOT / "deploy/prometheus-rules.yaml").read_text())["groups"][0]["rules"]
    panels = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())["panels"]
    queries = [rule["expr"] for rule in rules] + [query["expr"] for panel in panels for query in panel["targets"]]
    used = [set(re.findall(r"\b(?:http|jwt|jwks|queue|log|db)_[a-z_]+", query)) for query in queries]

    assert len(queries) > 25 and all(used)
    missing = {name for name in set.union(*used) if not {name, re.sub("(_total|_bucket|_count)$", "", name)} & existing}
    assert missing == set()


def test_reload_keeps_counters_and_drops_gauges_of_ended_processes(server, gateway):
    before = counted(server, "jwt_refusals_total", reason="no_token")
    children = server.workers()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not children & server.workers() and len(server.workers()) == 2)

    assert counted(server, "jwt_refusals_total", reason="no_token") == before
    wait_until(lambda: counted(server, "jwks_age_seconds", issuer=gateway.name) < 60)
    assert counted(server, "jwks_keys", issuer=gateway.name) == 1


def test_metrics_are_off_by_default(application):
    assert request(application, "GET", "/metrics").status == 404


def test_metrics_port_serves_metrics_instead_of_the_route(gateway, tmp_path):
    port = free_port()
    settings = {"JWT_ISSUER": gateway.name, "JWT_AUDIENCE": "*", "METRICS_ENABLED": "1", "METRICS_PORT": str(port)} | {
        "TMPDIR": str(tmp_path)
    }
    with production(free_port(), tmp_path / "log", **settings) as server:
        wait_until(lambda: listens(port))
        server.get("/protected")
        assert server.get("/metrics")[0] == 404
        assert "/metrics" not in json.loads(server.get("/openapi.json")[2])["paths"]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            responses = {}
            for method, path in (("GET", "/"), ("POST", "/metrics"), ("GET", "/metrics")):
                connection.request(method, path)
                responses[method, path] = connection.getresponse()
                text = responses[method, path].read()
        assert [response.status for response in responses.values()] == [404, 501, 200]
        assert responses["GET", "/metrics"].headers["Content-Type"].startswith("text/plain")
        assert samples(text)["jwt_refusals_total", ("reason", "no_token")] == 1


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def files(process):
    """Return the number of open files of a process."""
    return len(os.listdir(f"/proc/{process}/fd"))


def test_slow_clients_of_the_metrics_port_block_neither_it_nor_a_reload(gateway, tmp_path):
    port = free_port()
    settings = {"JWT_ISSUER": gateway.name, "JWT_AUDIENCE": "*", "METRICS_ENABLED": "1", "METRICS_PORT": str(port)} | {
        "TMPDIR": str(tmp_path)
    }
    with production(free_port(), tmp_path / "log", **settings) as server, ExitStack() as opened:
        wait_until(lambda: server.output().count("jwks_first_keys") == 2)
        wait_until(lambda: listens(port))
        before = {process: files(process) for process in (server.process.pid, *server.workers())}
        slow = [opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(100)]
        for each in slow:
            with suppress(OSError):
                each.sendall(b"G")
        wait_until(lambda: files(server.process.pid) < before[server.process.pid] + 25)
        children = server.workers()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not children & server.workers() and len(server.workers()) == 2)
        assert max(map(files, server.workers())) < max(map(before.get, children)) + 10
        for each in slow:
            with suppress(OSError):
                while each.recv(100):
                    continue  # until the server closes the connection
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 200


@pytest.mark.parametrize("which", ["PORT", "METRICS_PORT"])
def test_server_exits_with_a_message_if_a_port_is_taken(gateway, tmp_path, which):
    settings = {"JWT_ISSUER": gateway.name, "JWT_AUDIENCE": "*", "METRICS_ENABLED": "1", "TMPDIR": str(tmp_path)}
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104
        port = taken.getsockname()[1]
        server = production(free_port(), tmp_path / "log", **settings | {which: str(port)})
        server.process.wait(30)

    assert server.process.returncode == 1 and server.output().startswith(f"{which}: {port} is in use;")
