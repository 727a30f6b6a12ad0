"""The exported gateway project, and the description that is written to a file."""

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
    made = ZuploProject(operations, "Orders", "1.0.0", audience, "Authorization", "Bearer", grant_scopes).files()
    return json.loads(made["config/routes.oas.json"]), json.loads(made["config/policies.json"]), made


def test_it_forwards_the_guarded_routes_and_no_others(project, tmp_path):
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


def test_exporting_twice_changes_nothing_and_an_edited_file_is_kept(project, tmp_path):
    folder = tmp_path / "gateway"
    craft(project, "zuplo:export", str(folder))
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*.*")}
    again = craft(project, "zuplo:export", str(folder))
    assert again.returncode == 0 and again.stdout.count("unchanged") == len(times) == 5
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.*")} == times

    edited = folder / "config/policies.json"
    edited.write_text(edited.read_text().replace("300", "60").replace("{", "{ <fg=nope>", 1))
    (folder / "README.md").unlink()
    refused = craft(project, "zuplo:export", str(folder))
    assert refused.returncode == 1 and not (folder / "README.md").exists()
    assert "-{ <fg=nope>" in refused.stderr
    assert '-          "expiresIn": 60' in refused.stderr and '+          "expiresIn": 300' in refused.stderr
    assert "60" in edited.read_text()

    forced = craft(project, "zuplo:export", str(folder), "--force")
    assert forced.returncode == 0 and '"expiresIn": 300' in edited.read_text()


def test_it_writes_into_a_folder_of_its_own_and_over_plain_files_alone(project, tmp_path):
    for folder in ("", ".", str(project)):
        refused = craft(project, "zuplo:export", folder, "--force")
        assert refused.returncode == 1 and not (project / "package.json").exists()

    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "gateway"
    folder.mkdir()
    (folder / "README.md").symlink_to(victim)
    assert craft(project, "zuplo:export", str(folder), "--force").returncode == 1 and victim.read_text() == "mine"

    (folder / "README.md").unlink()
    (folder / "README.md").write_bytes(b"\xff\xfe")
    refused = craft(project, "zuplo:export", str(folder))
    assert refused.returncode == 1 and "README.md would be overwritten" in refused.stderr


@pytest.mark.parametrize(
    ("audience", "written"),
    [("orders-api", "orders-api"), ("https://gw.example/*", None), ("*", None), ("https://gw.example/*,b", "b")],
)
def test_the_audience_is_this_origins(project, tmp_path, audience, written):
    settings = {"JWT_ISSUER": "https://gw.example/__zuplo/issuer", "JWT_AUDIENCE": audience}
    ended = craft(project, "zuplo:export", str(tmp_path / "gateway"), **settings)
    assert ended.returncode == 0, ended.stderr

    options = json.loads((tmp_path / "gateway/config/policies.json").read_text())["policies"][1]["handler"]["options"]
    assert options.get("audience") == written


def test_scopes_are_seen_and_granted_only_where_that_is_asked_for():
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


def test_the_description_is_written_without_any_settings(project, tmp_path):
    file = tmp_path / "openapi.json"
    for settings in ({}, {"APP_ENV": "production"}):
        assert craft(project, "openapi:write", str(file), **settings).returncode == 0
        validate(json.loads(file.read_text()), cls=OpenAPIV31SpecValidator)
    assert json.loads(craft(project, "openapi:write", "-").stdout) == json.loads(file.read_text())
    refused = craft(project, "openapi:write", str(tmp_path / "no" / "file"))
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
