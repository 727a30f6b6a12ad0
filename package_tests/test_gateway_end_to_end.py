"""An exported gateway project in front of two production origins: what callers see of it."""

import http.client
import json
import signal
import sys
import threading
from contextlib import ExitStack, closing

import pytest

from package_tests.support.controllers import Controller, project_with, wait_until
from package_tests.support.gateway_proxy import Gateway, Origin
from package_tests.support.issuer import Issuer
from package_tests.support.project import craft
from package_tests.support.servers import Server, free_port
from package_tests.support.signing import Key

ORDERS = Controller(
    "OrdersController",
    """
import time
from pathlib import Path
from typing import Literal

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from pydantic import BaseModel, Field

from zuplo_origin.claims import Claims
from zuplo_origin.openapi import accepts, responds

GO_ON = Path(__file__).parents[2] / "go-on"


class NewOrder(BaseModel):
    sku: str
    count: int = 1


class Order(NewOrder):
    id: int


class Caller(Claims):
    tenant: str
    plan: Literal["gold", "silver"]
    uri: str = Field("user", alias="https://acme.example/role")


class OrdersController(Controller):
    def index(self, request: Request):
        \"\"\"Return the claims of the token, and its request's headers.\"\"\"
        headers = {name: value for name, value in request.environ.items() if name.startswith("HTTP_")}
        return {"claims": request.user(), "id": request.id, "headers": headers}

    @responds(201, Order)
    @responds(409, description="Sold out")
    def store(self, order: NewOrder):
        return {"id": 1, **order.model_dump()}

    def show(self, id):
        return {"id": id}

    @responds(200, content_type="text/csv")
    def export(self, response: Response):
        def rows():
            yield "id,sku\\n"
            while not GO_ON.exists():
                time.sleep(0.02)
            for number in range(50_000):
                yield f"{number},A-{number}\\n"

        return response.stream(rows(), "text/csv")

    @accepts("text/csv")
    @responds(202)
    def load(self, request: Request) -> dict:
        return {"bytes": len(request.body())}

    def upload(self, request: Request):
        upload = request.input("file")
        return {"name": upload.filename, "bytes": len(upload.content)}, 201

    def audit(self):
        return {"audited": True}

    def tenant(self, request: Request):
        return request.user()

    def caller(self, caller: Caller, request: Request):
        return request.user()

    def status(self):
        return {"open": True}

    def hook(self, request: Request):
        return {"received": request.json(), "user": request.user()}
""",
    """[
    Route.get("/orders", OrdersController.index).middleware("jwt:read:orders"),
    Route.post("/orders", OrdersController.store).middleware("jwt:write:orders"),
    Route.get("/orders/@id:int", OrdersController.show).middleware("jwt:read:orders"),
    Route.get("/orders/status", OrdersController.status).middleware("public"),
    Route.get("/orders/export", OrdersController.export).middleware("jwt:read:orders"),
    Route.post("/imports", OrdersController.load).middleware("jwt", "body:20MB"),
    Route.post("/files", OrdersController.upload).middleware("jwt", "body:20MB"),
    Route.get("/audit", OrdersController.audit).middleware("jwt", "claims:roles=admin"),
    Route.get("/tenant", OrdersController.tenant).middleware("jwt:read:orders", "claims:tenant,plan=gold|silver"),
    Route.get("/caller", OrdersController.caller).middleware("jwt"),
    Route.get("/realm", OrdersController.tenant).middleware("jwt", "claims:realm_access.roles=auditor,limit:=5,sub"),
    Route.get("/uri", OrdersController.tenant).middleware("jwt", "claims:https://acme.example/role=admin,a-b"),
    Route.post("/hooks/@name", OrdersController.hook).middleware("public"),
]""",
)
OLD, NEW = "old-secret-0123456789-0123456789-", "new-secret-0123456789-0123456789-"
CONSUMERS = {
    "key-of-acme": {"name": "acme", "metadata": {"scope": "read:orders write:orders", "roles": ["admin"]}},
    "key-of-reader": {"name": "reader", "metadata": {"scope": "read:orders"}},
    "key-of-newcomer": {"name": "newcomer"},
    "key-of-tenant": {
        "name": "tenant-1",
        "metadata": {
            "scope": "read:orders",
            "tenant": "t-1",
            "plan": "silver",
            "realm_access": {"roles": ["auditor"]},
            "limit": 5,
            "https://acme.example/role": "admin",
            "a-b": True,
            "iss": "https://evil.example",
            "sub": "another",
        },
    },
    "key-of-bronze": {
        "name": "bronze",
        "metadata": {
            "scope": "read:orders",
            "tenant": "t-2",
            "plan": "bronze",
            "realm_access": {"roles": []},
            "limit": "5",
            "https://acme.example/role": "user",
        },
    },
}
AUDIENCE, USERS = "orders-api", "orders-users"
KEY = {"Authorization": "Bearer key-of-acme"}


class World:
    """The gateway, its origins, the project that they serve, and an identity provider."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.project = project_with(ORDERS, folder / "project")
        self.gateway = Gateway(CONSUMERS)
        stack.callback(self.gateway.close)
        self.provider = Issuer([Key("RS256", "k-provider")])
        stack.callback(self.provider.close)
        self.gateway.environment["BACKEND_SECRET"] = OLD
        self.gateway.deploy(self.export("gateway"))
        self.env_files, self.servers = [folder / "0.env", folder / "1.env"], []
        settings = {
            "JWT_ISSUER": f"{self.gateway.issuer},{self.provider.name}",
            "JWT_AUDIENCE": f"{AUDIENCE},{USERS},{self.gateway.url}/*",
            "JWKS_TTL": "2",
            "JWKS_COOLDOWN": "1",
            "WEB_CONCURRENCY": "1",
            "SHUTDOWN_DRAIN": "1",
        }
        for env_file in self.env_files:
            env_file.write_text(f"GATEWAY_SECRET={OLD}\n")
            command, port = [sys.executable, "-m", "zuplo_origin.server"], free_port()
            own = settings | {"PORT": str(port), "ENV_FILE": str(env_file)}
            server = Server(command, port, folder / f"{env_file.stem}.log", own, self.project)
            self.servers.append(stack.enter_context(server))
            self.gateway.origins.append(Origin(port))
        wait_until(lambda: all("server_ready" in server.output() for server in self.servers))

    def export(self, name, *options, **settings):
        """Export the project's routes, the public ones too, and return the folder of the gateway project."""
        settings = {
            "JWT_ISSUER": self.gateway.issuer,
            "JWT_AUDIENCE": AUDIENCE,
            "GATEWAY_SECRET": OLD,
        } | settings
        ended = craft(self.project, "zuplo:export", str(self.folder / name), "--public", *options, **settings)
        assert (ended.returncode, ended.stderr) == (0, "")
        return self.folder / name

    def send(self, method, path, headers=KEY, body=None, port=None):
        """Send a request through the gateway, or to another port, and return status, headers and value of the body."""
        with closing(http.client.HTTPConnection("127.0.0.1", port or self.gateway.port, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, {n.lower(): v for n, v in response.getheaders()}, json.loads(text or "null")

    def status(self, method, path, headers=KEY, **others):
        return self.send(method, path, headers, **others)[0]

    def reload(self, *numbers, secrets):
        """Reload these origins at the same time, with other secrets of the gateway."""
        before = {number: self.servers[number].output().count("reload_done") for number in numbers}
        for number in numbers:
            self.env_files[number].write_text(f"GATEWAY_SECRET={secrets}\n")
            self.servers[number].process.send_signal(signal.SIGHUP)
        for number, server in ((each, self.servers[each]) for each in numbers):
            wait_until(
                lambda n=number, s=server: s.output().count("reload_done") > before[n] and len(s.children()) == 1
            )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("gateway"), stack)


class Callers:
    """Callers that send requests through the gateway until the block ends; then all of them must have succeeded."""

    def __init__(self, world, number=4):
        self.world, self.count, self.failures, self._stopped = world, 0, [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in range(number)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if exception[0] is None:
            assert self.failures == [] and self.count > 50

    def _run(self, number):
        kept = http.client.HTTPConnection("127.0.0.1", self.world.gateway.port, timeout=60)
        body = json.dumps({"sku": "A", "count": 2})
        with closing(kept):
            while not self._stopped.wait(0.005):
                try:
                    if number % 2:
                        kept.request("POST", "/orders", body, KEY | {"Content-Type": "application/json"})
                    else:
                        kept.request("GET", "/orders", headers=KEY)
                    response = kept.getresponse()
                    text = response.read()
                    if response.status not in (200, 201):
                        self.failures.append((response.status, text))
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                    kept.close()
                self.count += 1

    def wait_for_responses(self, number=40):
        before = self.count
        wait_until(lambda: self.count > before + number)


# -- routes and identities --------------------------------------------------------------------------------------------


def test_consumer_with_the_scope_is_accepted_with_a_token_of_the_gateway(world):
    status, _, body = world.send("GET", "/orders?page=2", KEY | {"zp-rid": "of-the-caller", "Backend-Secret": "x"})
    claims = body["claims"]

    assert (status, claims["iss"], claims["sub"], claims["aud"]) == (200, world.gateway.issuer, "acme", AUDIENCE)
    assert (claims["scope"], claims["roles"]) == ("read:orders write:orders", ["admin"])
    assert claims["exp"] - claims["iat"] == 300
    assert len(body["id"]) == 36 and body["headers"]["HTTP_BACKEND_SECRET"] != "x"
    assert "key-of-acme" not in json.dumps(body)


@pytest.mark.parametrize(
    ("key", "statuses"),
    [("key-of-acme", [200, 422, 200]), ("key-of-reader", [200, 403, 403]), ("key-of-newcomer", [403, 403, 403])],
)
def test_scopes_and_roles_of_a_consumer_decide(world, key, statuses):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    requests = [("GET", "/orders", None), ("POST", "/orders", "{}"), ("GET", "/audit", None)]

    assert [world.status(method, path, headers, body=body) for method, path, body in requests] == statuses


@pytest.mark.parametrize("path", ["/tenant", "/caller", "/realm", "/uri"])
def test_claims_that_a_route_requires_come_from_the_metadata(world, path):
    status, _, claims = world.send("GET", path, {"Authorization": "Bearer key-of-tenant"})
    assert status == 200, claims
    assert (claims["tenant"], claims["iss"], claims["sub"]) == ("t-1", world.gateway.issuer, "tenant-1")

    for key in ("bronze", "reader", "newcomer"):
        rejected = world.send("GET", path, {"Authorization": f"Bearer key-of-{key}"})
        assert rejected[0] == 403, rejected


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "key-of-acme"}])
def test_request_without_a_key_ends_at_the_gateway(world, headers):
    status, received, _ = world.send("GET", "/orders", headers)

    assert (status, received["content-type"]) == (401, "application/problem+json")


def test_typed_body_is_read_through_the_gateway(world):
    headers = KEY | {"Content-Type": "application/json"}
    created = world.send("POST", "/orders", headers, '{"sku": "A-1", "count": 3}')
    invalid = world.send("POST", "/orders", headers, '{"count": "many"}')

    assert (created[0], created[2]) == (201, {"id": 1, "sku": "A-1", "count": 3})
    assert (invalid[0], [each["field"] for each in invalid[2]["details"]]) == (422, ["sku", "count"])


def test_routes_that_are_not_exported_are_404_at_the_gateway(world):
    for method, path in (("GET", "/health/live"), ("GET", "/openapi.json"), ("DELETE", "/orders"), ("GET", "/")):
        status, headers, _ = world.send(method, path)
        assert (status, headers["content-type"]) == (404, "application/problem+json")


def test_public_webhook_passes_without_a_key(world):
    headers = {"Content-Type": "application/json"}

    status, _, body = world.send("POST", "/hooks/stripe", headers, '{"event": 1}')
    assert (status, body) == (200, {"received": {"event": 1}, "user": None})


def test_parameter_of_a_route_passes(world):
    assert world.send("GET", "/orders/7")[2] == {"id": 7}
    assert world.send("GET", "/orders/status", {})[2] == {"open": True}  # public, and /orders/{id} matches it too
    assert world.status("GET", "/orders/7", {}) == 401


# -- streams and uploads ----------------------------------------------------------------------------------------------


def test_csv_export_is_streamed_through_the_gateway(world):
    go_on = world.project / "go-on"
    go_on.unlink(missing_ok=True)
    with closing(http.client.HTTPConnection("127.0.0.1", world.gateway.port, timeout=60)) as connection:
        connection.request("GET", "/orders/export", headers=KEY)
        response = connection.getresponse()
        assert (response.status, response.readline()) == (200, b"id,sku\n")  # before the origin has the other rows
        go_on.touch()
        rows = response.read().splitlines()

    assert len(rows) == 50_000 and rows[-1] == b"49999,A-49999"


def test_upload_and_csv_import_pass_through_the_gateway(world):
    content = b"x" * 3_000_000
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + content + b"\r\n--b--\r\n"
    status, _, uploaded = world.send("POST", "/files", KEY | {"Content-Type": "multipart/form-data; boundary=b"}, body)
    assert (status, uploaded) == (201, {"name": "a.bin", "bytes": 3_000_000})

    lines = (b"%d,A\n" % number for number in range(1000, 2000))  # chunked: no Content-Length
    status, _, loaded = world.send("POST", "/imports", KEY | {"Content-Type": "text/csv"}, lines)
    assert (status, loaded) == (202, {"bytes": 7000})


def test_connections_to_the_origins_are_kept(world):
    before = [origin.opened for origin in world.gateway.origins]
    assert {world.status("GET", "/orders") for _ in range(20)} == {200}

    assert all(origin.opened <= opened + 2 for origin, opened in zip(world.gateway.origins, before, strict=True))


# -- past the gateway -------------------------------------------------------------------------------------------------


def test_request_past_the_gateway_is_rejected(world):
    token = world.gateway.token(sub="acme", aud=AUDIENCE, scope="read:orders")
    for server in world.servers:
        for headers, error in (
            ({}, "Not from the gateway"),
            (KEY, "Not from the gateway"),
            ({"Authorization": f"Bearer {token}"}, "Not from the gateway"),
            ({"backend-secret": world.gateway.environment["BACKEND_SECRET"]}, "No token provided"),
        ):
            status, _, body = world.send("GET", "/orders", headers, port=server.port)
            assert (status, body["error"]) == (401, error)


# -- no caller notices ------------------------------------------------------------------------------------------------


def test_callers_do_not_notice_a_rotation_of_the_secret(world):
    with Callers(world) as callers:
        world.reload(0, 1, secrets=f"{NEW},{OLD}")
        callers.wait_for_responses()
        world.gateway.environment["BACKEND_SECRET"] = NEW
        callers.wait_for_responses()
        world.reload(0, secrets=NEW)
        callers.wait_for_responses()
    world.gateway.environment["BACKEND_SECRET"] = OLD
    try:
        assert {world.status("GET", "/orders") for _ in range(4)} == {200, 401}  # one origin accepts the old one still
    finally:
        world.gateway.environment["BACKEND_SECRET"] = NEW
    assert not any(secret in server.output() for secret in (OLD, NEW) for server in world.servers)


def test_callers_do_not_notice_a_rotation_of_keys_an_outage_of_the_issuer_and_a_reload(world):
    gateway = world.gateway
    with Callers(world) as callers:
        gateway.rotate()
        callers.wait_for_responses()
        gateway.is_out = True
        try:
            wait_until(lambda: gateway.lost_fetches >= 4)
            callers.wait_for_responses()
        finally:
            gateway.is_out = False
        world.reload(1, secrets=world.gateway.environment["BACKEND_SECRET"])
        callers.wait_for_responses()
        gateway.rotate()
        callers.wait_for_responses()


# -- other exports ----------------------------------------------------------------------------------------------------


def test_url_of_the_request_is_the_audience_without_one(world):
    folder = world.export("without-audience", JWT_AUDIENCE=f"{world.gateway.url}/*")
    with world.gateway.deployed(folder):
        status, _, body = world.send("GET", "/orders?page=1")

    assert (status, body["claims"]["aud"]) == (200, f"{world.gateway.url}/orders")


def test_token_of_an_identity_provider_passes_and_is_verified_again(world):
    settings = {"JWT_ISSUER": world.provider.name, "JWT_AUDIENCE": USERS, "JWKS_URL": world.provider.jwks_url}
    folder = world.export("user", "--identity", "user", **settings)
    good = world.provider.token("RS256", aud=USERS, scope="read:orders")
    without_scope = world.provider.token("RS256", aud=USERS)
    other = world.provider.token("RS256", aud="another")
    with world.gateway.deployed(folder):
        status, _, body = world.send("GET", "/orders", {"Authorization": f"Bearer {good}"})
        assert (status, body["claims"]["iss"]) == (200, world.provider.name)
        assert world.status("GET", "/orders", {"Authorization": f"Bearer {without_scope}"}) == 403
        for headers in ({}, KEY, {"Authorization": f"Bearer {other}"}):
            rejected = world.send("GET", "/orders", headers)
            assert (rejected[0], rejected[1]["content-type"]) == (401, "application/problem+json")


def test_api_key_does_not_reach_an_origin_that_takes_the_token_from_another_header(world):
    folder = world.export("other-header", JWT_HEADER="X-Gateway-Token")
    with world.gateway.deployed(folder):
        # these origins take the token from Authorization: what they reject shows that the key is gone
        assert world.send("GET", "/orders")[2] == {"error": "No token provided"}
        assert world.send("GET", "/orders", {})[1]["content-type"] == "application/problem+json"


def test_claims_of_the_settings_come_from_the_metadata(world):
    settings = {"JWT_REQUIRED_CLAIMS": "department=sales", "JWT_SCOPE_CLAIMS": "permissions.granted"}
    options = json.loads((world.export("settings", **settings) / "config/policies.json").read_text())["policies"][1]
    copied = options["handler"]["options"]["claimsFromUser"]

    assert (copied["department"], copied["permissions"]) == ("data.department", "data.permissions")
    readme = (world.folder / "settings/README.md").read_text()
    assert '`department` | `"sales"`, or a list with it | `all routes`' in readme
    assert '"permissions": {"granted": "read:orders write:orders"}' in readme


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("config/policies.json", '"api-key-inbound"', '"api-key-auth-inbound"', "unknown policy"),
        ("config/policies.json", '"sign-for-origin"', '"sign"', "no policy is called sign-for-origin"),
        ("config/policies.json", "expiresIn", "expiresInn", "expiresInn"),
        ("config/policies.json", "BACKEND_SECRET", "SECRET", "no variable SECRET"),
        ("config/routes.oas.json", "urlForwardHandler", "urlForward", "unknown handler"),
        ("modules/zuplo.runtime.ts", "JwtServicePlugin()", "Other()", "no JwtServicePlugin"),
    ],
)
def test_wrong_project_is_not_deployed(world, tmp_path, file, before, after, message):
    for path in ("config/policies.json", "config/routes.oas.json", "modules/zuplo.runtime.ts"):
        text = (world.folder / "gateway" / path).read_text()
        (tmp_path / path).parent.mkdir(exist_ok=True)
        assert path != file or before in text
        (tmp_path / path).write_text(text.replace(before, after) if path == file else text)

    with pytest.raises(ValueError, match=message):
        world.gateway.deploy(tmp_path)
