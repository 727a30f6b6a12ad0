"""The example `examples/orders` behind a gateway: exported, edited by hand, exported again, and called by a client."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from package_tests.support.controllers import wait_until
from package_tests.support.gateway_proxy import Gateway, Origin
from package_tests.support.npm import installed
from package_tests.support.project import batch
from package_tests.support.servers import ROOT, Server, free_port
from zuplo_origin.dev.zuplo import POLICIES, ROUTES

AUDIENCE = "orders-api"
CONSUMERS = {"key-of-acme": {"name": "acme", "metadata": {"scope": "read:orders write:orders"}}}
LIMIT = """{
      "name": "limit-rate", "policyType": "rate-limit-inbound",
      "handler": { "export": "RateLimitInboundPolicy", "module": "$import(@zuplo/runtime)",
        "options": { "rateLimitBy": "user", "requestsAllowed": 100, "timeWindowMinutes": 1 } }
    },
    """
OWN_ROUTE = """"/ping":   { "get": { "operationId": "ping", "summary": "A route of the gateway.", "responses": {} } },
    """
CLIENT = """
import createClient from "openapi-fetch";
import type { paths } from "./types.js";

declare const process: { env: Record<string, string> };
const headers = { Authorization: `Bearer ${process.env.KEY}` };
const client = createClient<paths>({ baseUrl: process.env.GATEWAY_URL, headers });
const order = { reference: "A-1", customer: "ACME", quantity: 2, price_cents: 950, due: "2030-01-01" };

const params = { header: { "Idempotency-Key": "key-1" } };
const created = await client.POST("/orders", { params, body: order });
const repeated = await client.POST("/orders", { params, body: order });
const id: number = repeated.data!.id;
const version = { path: { id }, header: { "If-Match": created.response.headers.get("ETag")! } };
const changed = await client.PATCH("/orders/{id}", { params: version, body: { quantity: 3 } });
const stale = await client.PATCH("/orders/{id}", { params: version, body: { quantity: 4 } });
// @ts-expect-error: the description requires If-Match
const unconditional = await client.PATCH("/orders/{id}", { params: { path: { id } }, body: { quantity: 5 } });
const again = await client.POST("/orders", { body: order });
const invalid = await client.POST("/orders", { body: { ...order, reference: "A-2", quantity: 0 } });
const faults = invalid.error as { details: { field: string }[] };
const fields = faults.details.map((each) => each.field);
const csv = "reference,customer,quantity,price_cents,due\\nB-1,ACME,1,100,2030-01-01\\nB-2,ACME,1,200,2030-01-01\\n";
const raw = { bodySerializer: (body: string) => body, headers: { "Content-Type": "text/csv" } };
const imported = await client.POST("/orders.csv", { body: csv, ...raw });
const query = { per_page: 2, sort: "-price_cents", status: "open" } as const;
const listed = await client.GET("/orders", { params: { query } });
const references: string[] = listed.data!.data.map((each) => each.reference);
const text = await client.GET("/orders.csv", { parseAs: "text" });
const deleted = await client.DELETE("/orders/{id}", { params: { path: { id } } });
const missing = await client.GET("/orders/{id}", { params: { path: { id } } });
const anonymous = await client.GET("/orders", { headers: { Authorization: "Bearer other" } });
const changes = [repeated, changed, stale, unconditional].map((each) => each.response.status);
const statuses = [created, again, invalid, imported, listed, text, deleted, missing, anonymous].map(
  (each) => each.response.status,
);
const total: number = listed.data!.meta.total;
const lines = (text.data as string).trim().split("\\n").length;
const error = (missing.error as { error: string }).error;
const count = imported.data!.imported;
console.log(JSON.stringify({ changes, statuses, fields, imported: count, references, total, lines, error }));
"""


@pytest.fixture
def project(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3*", "storage")
    return shutil.copytree(ROOT / "examples" / "orders", tmp_path / "orders", ignore=ignored)


def replace(file, before, after):
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def edit_by_hand(folder):
    """Edit the gateway project as its owners do, and return the text of the edits in the file of the routes."""
    routes, policies = folder / ROUTES, folder / POLICIES
    replace(routes, '"paths": {\n    ', f'"paths": {{\n    {OWN_ROUTE}')
    replace(routes, '"version": "', '"description":"Of the gateway",\n    "version": "')
    replace(routes, '"corsPolicy": "none"', '"corsPolicy":    "anything-goes"')
    replace(routes, '"authenticate",', '"authenticate",   "limit-rate",')
    replace(routes, '"description": "Orders. Each', '"description":   "Our words. Each')  # of a tag
    replace(policies, '"policies": [\n    ', f'"policies": [\n    {LIMIT}')
    replace(policies, '"cacheTtlSeconds": 60', '"cacheTtlSeconds":5')
    replace(folder / "zuplo.jsonc", '"version"', '// Ours\n  "version"')
    replace(folder / "modules/zuplo.runtime.ts", "runtime.addPlugin", "// Ours too\n  runtime.addPlugin")
    (folder / "README.md").write_text("Our README\n")
    (folder / "modules/own.ts").write_text("export const own = 1;\n")
    ours = [OWN_ROUTE.strip(), '"description":"Of the gateway"', '"corsPolicy":    "anything-goes"']
    return [*ours, '"authenticate",   "limit-rate",', '"description":   "Our words. Each']


def change_the_application(project):
    schemas, web = project / "app/schemas.py", project / "routes/web.py"
    replace(
        schemas, "    price_cents: Cents\n", "    price_cents: Cents\n    currency: Literal['EUR', 'USD'] = 'EUR'\n"
    )
    controller = project / "app/controllers/OrdersController.py"
    replace(controller, '"""List orders."""', '"""Find orders."""')
    recent = '    def recent(self) -> list[OrderView]:\n        """Newest."""\n\n'
    replace(controller, "    def destroy", f"{recent}    def destroy")
    delete = '    Route.delete("/orders/@id:int", OrdersController.destroy).middleware(*WRITE),\n'
    replace(web, delete, '    Route.get("/orders/recent", OrdersController.recent).middleware(*READ),\n')


def test_edits_at_the_gateway_survive_a_change_of_the_application(project, tmp_path):
    folder = tmp_path / "gateway"
    (first,) = batch(project, ["zuplo:export ../gateway"])
    assert (first[0], first[2]) == (0, "")
    ours = edit_by_hand(folder)
    by_hand = contents(folder)
    assert [ended[:1] + ended[2:] for ended in batch(project, ["zuplo:export ../gateway --check"])] == [(0, "")]
    change_the_application(project)

    checked, shown = batch(project, ["zuplo:export ../gateway --check", "zuplo:export ../gateway --dry-run --prune"])
    assert (checked[0], shown[0], contents(folder)) == (1, 0, by_hand)
    summary, _, differences = shown[1].partition("\n\n")
    assert [line for line in summary.splitlines() if line.startswith("would") and "write" not in line] == [
        "would add GET /orders/recent",
        "would update GET /orders: summary",
        "would update POST /orders: requestBody",
        "would remove DELETE /orders/{id}",
        "would update components/schemas/NewOrder",
    ]
    assert differences.startswith(f"--- {ROUTES}\n+++ {ROUTES}\n@@")
    taken = [line for line in differences.splitlines() if re.match("-(?!--)", line)]
    deleted = json.loads(by_hand[folder / ROUTES])["paths"]["/orders/{id}"]["delete"]
    assert len(taken) <= len(json.dumps(deleted, indent=2).splitlines()) + 6  # no line that stays is in the differences

    exported, again, last = batch(
        project, ["zuplo:export ../gateway --prune", "zuplo:export ../gateway --check", "zuplo:export ../gateway"]
    )
    assert [exported[0], again[0], last[0]] == [0, 0, 0] and "nothing to change" in last[1]
    after = contents(folder)
    assert {path for path in after if after[path] != by_hand.get(path)} == {folder / ROUTES}
    text = after[folder / ROUTES].decode()
    assert [each for each in ours if each not in text] == []
    validate(json.loads(text) | {"paths": {}}, cls=OpenAPIV31SpecValidator)
    paths, schemas = json.loads(text)["paths"], json.loads(text)["components"]["schemas"]
    assert list(paths)[:1] == ["/ping"] and list(paths).index("/orders/recent") < list(paths).index("/orders/{id}")
    assert set(paths["/orders/{id}"]) == {"x-zuplo-path", "get", "patch"}
    assert paths["/orders"]["get"]["summary"] == "Find orders"
    assert schemas["NewOrder"]["properties"]["currency"]["enum"] == ["EUR", "USD"]
    inbound = [paths[path]["get"]["x-zuplo-route"]["policies"]["inbound"] for path in ("/orders", "/orders/recent")]
    assert inbound == [["authenticate", "limit-rate", "sign-for-origin"], ["authenticate", "sign-for-origin"]]


@pytest.fixture
def gateway(project, tmp_path):
    """Run the exported gateway in front of the example on the production server."""
    with ExitStack() as stack:
        gateway = Gateway(CONSUMERS)
        stack.callback(gateway.close)
        port = free_port()
        settings = {"JWT_ISSUER": gateway.issuer, "JWT_AUDIENCE": AUDIENCE, "PAYMENTS_SECRET": "of the payment service"}
        settings |= {"DATABASE_URL": f"sqlite:///{tmp_path}/orders.sqlite3", "WEB_CONCURRENCY": "1", "PORT": str(port)}
        assert [ended[0] for ended in batch(project, ["zuplo:export ../gateway", "migrate --force"], **settings)] == [
            0,
            0,
        ]
        gateway.deploy(tmp_path / "gateway")
        command = [sys.executable, "-m", "zuplo_origin.server"]
        server = stack.enter_context(Server(command, port, tmp_path / "log", settings, project))
        gateway.origins.append(Origin(port))
        wait_until(lambda: server.get("/health/ready")[0] == 200)
        yield gateway


def run(command, **variables):
    environment = os.environ | variables
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_client_of_the_exported_description_talks_to_the_example_through_the_gateway(gateway, tmp_path):
    packages = installed(ROOT / "package_tests/support/gateway_types") / "node_modules"
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "client.ts").write_text(CLIENT)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(packages)
    run([packages / ".bin/openapi-typescript", tmp_path / "gateway" / ROUTES, "--output", folder / "types.ts"])
    options = ["--strict", "--skipLibCheck", "--target", "ES2022", "--lib", "ES2022,DOM", "--module", "ESNext"]
    run([packages / ".bin/tsc", *options, "--moduleResolution", "Bundler", folder / "client.ts"])

    printed = json.loads(run(["node", folder / "client.js"], GATEWAY_URL=gateway.url, KEY="key-of-acme"))
    assert printed == {
        "changes": [201, 200, 412, 428],
        "statuses": [201, 409, 422, 201, 200, 200, 204, 404, 401],
        "fields": ["quantity"],
        "imported": 2,
        "references": ["A-1", "B-2"],
        "total": 3,
        "lines": 4,
        "error": "Not found",
    }
