"""The exported gateway project, and the API description in a file."""

import json

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from package_tests.support.project import copy_of_the_project, craft
from zuplo_origin.dev.zuplo import ZuploProject
from zuplo_origin.openapi.description import Operation

POLICIES = {
    "type": "object",
    "required": ["policies"],
    "additionalProperties": False,
    "properties": {
        "policies": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "policyType", "handler"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z0-9-]+$"},
                    "policyType": {"type": "string", "pattern": "^[a-z0-9-]+-inbound$"},
                    "handler": {
                        "type": "object",
                        "required": ["export", "module", "options"],
                        "additionalProperties": False,
                        "properties": {
                            "export": {"type": "string", "pattern": "^[A-Za-z]+InboundPolicy$"},
                            "module": {"const": "$import(@zuplo/runtime)"},
                            "options": {"type": "object"},
                        },
                    },
                },
            },
        }
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


def operation(path, scopes, method="get"):
    return Operation(path, method, f"{path}.{method}", "Things", "Things.", "", (), scopes)


def exported(*operations, audience="orders", grant_scopes=False):
    files = ZuploProject(operations, "Orders", "1.0.0", audience, "Authorization", "Bearer", grant_scopes).files()
    return json.loads(files["config/routes.oas.json"]), json.loads(files["config/policies.json"]), files


def test_export_forwards_the_guarded_routes_only(project, tmp_path):
    ended = craft(project, "zuplo:export", str(tmp_path / "gateway"))
    assert ended.returncode == 0, ended.stderr
    listed = craft(project, "routes:list").stdout
    routes = json.loads((tmp_path / "gateway/config/routes.oas.json").read_text())
    policies = json.loads((tmp_path / "gateway/config/policies.json").read_text())

    validate(routes, cls=OpenAPIV31SpecValidator)
    jsonschema.validate(policies, POLICIES)
    assert list(routes["paths"]) == ["/protected"] and all(path in listed for path in routes["paths"])
    route = routes["paths"]["/protected"]["get"]["x-zuplo-route"]
    assert route["handler"]["export"] == "urlForwardHandler"
    assert route["handler"]["options"] == {"baseUrl": "$env(ORIGIN_URL)"}
    assert route["policies"]["inbound"] == [policy["name"] for policy in policies["policies"]]
    assert policies["policies"][1]["handler"]["options"]["audience"] == "zuplo-origin"
    assert "JwtServicePlugin" in (tmp_path / "gateway/modules/zuplo.runtime.ts").read_text()
    assert json.loads((tmp_path / "gateway/package.json").read_text())["dependencies"] == {"zuplo": "^6"}
    readme = (tmp_path / "gateway/README.md").read_text()
    assert all(name in readme for name in ("ORIGIN_URL", "JWT_ISSUER", "JWT_AUDIENCE", "zuplo-origin"))


def test_export_writes_no_file_if_one_was_edited(project, tmp_path):
    folder = tmp_path / "gateway"
    craft(project, "zuplo:export", str(folder))
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*.*")}
    again = craft(project, "zuplo:export", str(folder))
    assert again.returncode == 0 and again.stdout.count("unchanged") == len(times) == 5
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.*")} == times

    edited = folder / "config/policies.json"
    edited.write_text(edited.read_text().replace("300", "60").replace("{", "{ <fg=nope>", 1))
    (folder / "README.md").unlink()
    ended = craft(project, "zuplo:export", str(folder))
    assert ended.returncode == 1 and not (folder / "README.md").exists()
    assert "-{ <fg=nope>" in ended.stderr
    assert '-          "expiresIn": 60' in ended.stderr and '+          "expiresIn": 300' in ended.stderr
    assert "60" in edited.read_text()

    forced = craft(project, "zuplo:export", str(folder), "--force")
    assert forced.returncode == 0 and '"expiresIn": 300' in edited.read_text()


@pytest.mark.parametrize("folder", ["", ".", "project"])
def test_export_rejects_the_folder_of_the_project(project, folder):
    ended = craft(project, "zuplo:export", str(project) if folder == "project" else folder, "--force")

    assert ended.returncode == 1 and not (project / "package.json").exists()


def test_export_does_not_follow_a_symbolic_link(project, tmp_path):
    target = tmp_path / "target"
    target.write_text("original")
    folder = tmp_path / "gateway"
    folder.mkdir()
    (folder / "README.md").symlink_to(target)

    assert craft(project, "zuplo:export", str(folder), "--force").returncode == 1 and target.read_text() == "original"


def test_export_reports_an_existing_file_that_is_not_utf8(project, tmp_path):
    folder = tmp_path / "gateway"
    folder.mkdir()
    (folder / "README.md").write_bytes(b"\xff\xfe")

    ended = craft(project, "zuplo:export", str(folder))
    assert ended.returncode == 1 and "README.md would be overwritten" in ended.stderr


@pytest.mark.parametrize(
    ("audience", "written"),
    [("orders-api", "orders-api"), ("https://gw.example/*", None), ("*", None), ("https://gw.example/*,b", "b")],
)
def test_export_uses_the_audience_of_the_origin(project, tmp_path, audience, written):
    settings = {"JWT_ISSUER": "https://gw.example/__zuplo/issuer", "JWT_AUDIENCE": audience}
    ended = craft(project, "zuplo:export", str(tmp_path / "gateway"), **settings)
    assert ended.returncode == 0, ended.stderr

    options = json.loads((tmp_path / "gateway/config/policies.json").read_text())["policies"][1]["handler"]["options"]
    assert options.get("audience") == written


def test_export_grants_scopes_only_on_request():
    operations = [
        operation("/a", ("read:a",)),
        operation("/b", ()),
        operation("/c", ("read-a",)),
        operation("/d", None),
    ]
    routes, policies, files = exported(*operations)
    assert list(routes["paths"]) == ["/a", "/b", "/c"]
    assert routes["paths"]["/a"]["get"]["x-origin-scopes"] == ["read:a"]
    assert "read:a" in routes["paths"]["/a"]["get"]["description"] and "`read:a`" in files["README.md"]
    assert len(policies["policies"]) == 2 and "additionalClaims" not in json.dumps(policies)

    routes, policies, files = exported(*operations, grant_scopes=True)
    jsonschema.validate(policies, POLICIES)
    granted = {each["name"]: each["handler"]["options"].get("additionalClaims") for each in policies["policies"]}
    for path, scope in (("/a", {"scope": "read:a"}), ("/b", None), ("/c", {"scope": "read-a"})):
        _, signing = routes["paths"][path]["get"]["x-zuplo-route"]["policies"]["inbound"]
        assert granted[signing] == scope


def test_openapi_write_runs_without_settings(project, tmp_path):
    file = tmp_path / "openapi.json"
    for settings in ({}, {"APP_ENV": "production"}):
        assert craft(project, "openapi:write", str(file), **settings).returncode == 0
        validate(json.loads(file.read_text()), cls=OpenAPIV31SpecValidator)
    assert json.loads(craft(project, "openapi:write", "-").stdout) == json.loads(file.read_text())
    ended = craft(project, "openapi:write", str(tmp_path / "missing" / "file"))
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
