"""The TypeScript of an exported gateway project, and the types that clients make from the API description."""

import shutil
import subprocess
from pathlib import Path

import pytest

from package_tests.support.npm import installed
from package_tests.support.project import batch
from package_tests.support.servers import ROOT
from zuplo_origin.dev.zuplo import ROUTES, Gateway, export
from zuplo_origin.openapi.description import Operation

FOLDER = Path(__file__).parent / "support" / "gateway_types"
PROVIDER = ("https://idp.test/", "orders", "https://idp.test/keys")
TITLE = 'Orders "of" `ACME` ${x} {y} <z> \\'
CLIENT = """
import type { paths } from "./types";

type Body = paths["/orders"]["post"]["requestBody"]["content"]["application/json"];
type Created = paths["/orders"]["post"]["responses"][201]["content"]["application/json"];
type Rejected = paths["/orders"]["post"]["responses"][422]["content"]["application/json"];
type Query = NonNullable<paths["/orders"]["get"]["parameters"]["query"]>;
type Csv = paths["/orders.csv"]["get"]["responses"][200]["content"]["text/csv"];

export const body: Body = { reference: "a", customer: "ACME", quantity: 1, price_cents: 950, due: "2030-01-01" };
export const query: Query = { page: 2 };
export const show = (created: Created): [number, string] => [created.id, created.customer];
export const first = (rejected: Rejected): string => rejected.details?.[0]?.field ?? rejected.error;
export const lines = (csv: Csv): number => csv.length;
// @ts-expect-error: the customer is missing
export const incomplete: Body = { reference: "a", quantity: 1, price_cents: 950, due: "2030-01-01" };
// @ts-expect-error: a page is a number
export const other: Query = { page: "two" };
"""
STRICT = ("--noEmit", "--strict", "--skipLibCheck", "--target", "ES2022", "--module", "ESNext")


@pytest.fixture(scope="module")
def packages():
    return installed(FOLDER)


def run(packages, name, *arguments):
    command = [packages / "node_modules/.bin" / name, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def operation(path, method, scopes):
    return Operation(path, method, f"{method}{path}", "Things", "Things.", "", (), scopes)


@pytest.mark.parametrize("provider", [None, PROVIDER], ids=["gateway", "user"])
def test_exported_typescript_has_the_types_of_zuplo(packages, tmp_path, provider):
    gateway = Gateway(TITLE, "1.0.0", "orders", identity_provider=provider)
    guarded = [operation("/orders", "get", ("read:orders",)), operation('/it\'s/"quoted"', "post", ())]
    folder = tmp_path / "gateway"
    (folder / "modules").mkdir(parents=True)
    for path, text in export(guarded if provider is None else [], gateway, folder).files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")

    run(packages, "tsc", "--project", folder)


def test_typescript_client_has_the_types_of_the_example(packages, tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3*", "storage")
    project = shutil.copytree(ROOT / "examples" / "orders", tmp_path / "orders", ignore=ignored)
    commands = ["openapi:write ../description.json", "zuplo:export ../gateway"]
    assert [ended[0] for ended in batch(project, commands)] == [0, 0]

    clients = []
    for name, document in {"description": "description.json", "gateway": f"gateway/{ROUTES}"}.items():
        run(packages, "openapi-typescript", tmp_path / document, "--output", tmp_path / name / "types.ts")
        clients.append(tmp_path / name / "client.ts")
        clients[-1].write_text(CLIENT)
    run(packages, "tsc", *STRICT, *clients)
