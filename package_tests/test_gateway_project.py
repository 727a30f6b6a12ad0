"""The exported gateway project, and the API description in a file."""

import json

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import AliasChoices, AliasPath, BaseModel, Field

from package_tests.support.project import copy_of_the_project, craft, start_craft
from zuplo_origin.claims import Claims
from zuplo_origin.dev.zuplo import POLICIES, ROUTES, Gateway, export
from zuplo_origin.openapi.description import Operation

POLICIES_SCHEMA = {
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


def operation(path, scopes, method="get", **others):
    return Operation(path, method, f"{method}{path}", "Things", "Things.", "", (), scopes, **others)


def gateway(**values):
    return Gateway(**{"title": "Orders", "version": "1.0.0", "audience": "orders"} | values)


def exported(folder, *operations, with_public=False, prune=False, **values):
    """Export the operations into the folder, and return what was done, the routes and the policies."""
    made = export(list(operations), gateway(**values), folder, with_public, prune)
    for path, text in made.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
    return made, loaded(folder, ROUTES), loaded(folder, POLICIES)


def loaded(folder, path):
    return json.loads((folder / path).read_bytes())


def inbound(routes, path, method="get"):
    return routes["paths"][path][method]["x-zuplo-route"]["policies"]["inbound"]


ORDERS = operation("/orders", ("read:orders",))
ORDER = operation("/orders/{id}", (), method="delete")
HOOK = operation("/hook", None, method="post", is_public=True)


def test_export_forwards_the_guarded_routes_only(project, tmp_path):
    folder = tmp_path / "gateway"
    ended = start_craft(project, "zuplo:export", str(folder))
    assert ended.returncode == 0, ended.stderr
    routes, policies = loaded(folder, ROUTES), loaded(folder, POLICIES)

    validate(routes, cls=OpenAPIV31SpecValidator)
    jsonschema.validate(policies, POLICIES_SCHEMA)
    assert list(routes["paths"]) == ["/protected"]
    route = routes["paths"]["/protected"]["get"]["x-zuplo-route"]
    assert route["handler"]["export"] == "urlForwardHandler"
    assert route["handler"]["options"] == {"baseUrl": "$env(ORIGIN_URL)"}
    assert route["policies"]["inbound"] == [policy["name"] for policy in policies["policies"]]
    assert policies["policies"][1]["handler"]["options"]["audience"] == "zuplo-origin"
    assert "left out GET /health/live: health checks" in ended.stdout
    assert "JwtServicePlugin" in (folder / "modules/zuplo.runtime.ts").read_text()
    assert loaded(folder, "package.json")["dependencies"] == {"zuplo": "^7"}
    readme = (folder / "README.md").read_text()
    assert all(name in readme for name in ("ORIGIN_URL", "JWT_ISSUER", "JWT_AUDIENCE", "zuplo-origin"))

    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    again = craft(project, "zuplo:export", str(folder), "--check")
    assert again.returncode == 0 and "nothing to change" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()} == times


def test_check_and_dry_run_change_nothing(project, tmp_path):
    folder = tmp_path / "gateway"
    checked = craft(project, "zuplo:export", str(folder), "--check")
    assert (checked.returncode, folder.exists()) == (1, False)
    assert "would add GET /protected" in checked.stdout

    shown = craft(project, "zuplo:export", str(folder), "--dry-run")
    assert (shown.returncode, folder.exists()) == (0, False)
    assert '+    "/protected": {' in shown.stdout


def test_edits_at_the_gateway_stay(tmp_path):
    _, routes, _ = exported(tmp_path, ORDERS, ORDER)
    file = tmp_path / ROUTES
    text = file.read_text()
    edited = text.replace('"corsPolicy": "none"', '"corsPolicy":   "anything-goes"', 1).replace(
        '"inbound": [\n              "authenticate"', '"inbound": [\n              "limit-rate", "authenticate"', 1
    )
    edited = edited.replace('"paths": {', '"x-own": [1,2],\n  "servers": [],\n  "paths": {', 1)
    assert edited != text
    file.write_text(edited)
    policies = tmp_path / POLICIES
    policies.write_text(policies.read_text().replace('"expiresIn": 300', '"expiresIn":60'))
    kept = policies.read_bytes()
    (tmp_path / "README.md").write_text("ours")

    changed = operation("/orders", ("read:orders", "write:orders"))
    made, routes, _ = exported(tmp_path, changed, ORDER, operation("/new", ()))

    assert (made.added, made.updated, made.removed) == (["GET /new"], ["GET /orders: description, x-origin-scopes"], [])
    assert set(made.files) == {ROUTES}
    assert routes["paths"]["/orders"]["get"]["x-origin-scopes"] == ["read:orders", "write:orders"]
    assert inbound(routes, "/orders")[0] == "limit-rate"
    assert policies.read_bytes() == kept and (tmp_path / "README.md").read_text() == "ours"
    after = file.read_text()
    for mine in (
        '"corsPolicy":   "anything-goes"',
        '"limit-rate", "authenticate"',
        '"x-own": [1,2],\n  "servers": [],',
    ):
        assert mine in after
    unchanged = [line for line in edited.splitlines() if line not in after.splitlines()]
    assert all("read:orders" in line or "description" in line for line in unchanged)


def test_removed_routes_are_reported_and_removed_with_prune_alone(tmp_path):
    exported(tmp_path, ORDERS, ORDER)
    file = tmp_path / ROUTES
    own = {"get": {"operationId": "own", "responses": {}}}
    value = loaded(tmp_path, ROUTES)
    value["paths"]["/own"] = own
    file.write_text(json.dumps(value))

    made, routes, _ = exported(tmp_path, ORDERS)
    assert made.gone == ["DELETE /orders/{id}"] and made.files == {} and "/orders/{id}" in routes["paths"]
    made, routes, _ = exported(tmp_path, ORDERS, prune=True)
    assert made.removed == ["DELETE /orders/{id}"] and list(routes["paths"]) == ["/orders", "/own"]
    assert routes["paths"]["/own"] == own


def test_public_routes_are_exported_on_request_without_authentication(tmp_path):
    opened = operation("/open", None)
    made, routes, _ = exported(tmp_path, ORDERS, HOOK, opened)
    assert [name for name, _ in made.left_out] == ["POST /hook", "GET /open"]
    assert "--public" in made.left_out[0][1] and ".middleware" in made.left_out[1][1]
    assert "/hook" not in routes["paths"]

    made, routes, _ = exported(tmp_path, ORDERS, HOOK, opened, with_public=True)
    assert made.added == ["POST /hook"] and inbound(routes, "/hook", "post") == []
    assert [name for name, _ in made.left_out] == ["GET /open"]


@pytest.mark.parametrize(
    ("present", "new", "order"),
    [
        (["/orders/{id}"], "/orders/export", ["/orders/export", "/orders/{id}"]),
        (["/a", "/orders/{id}", "/z"], "/orders/{id}.csv", ["/a", "/orders/{id}.csv", "/orders/{id}", "/z"]),
        (["/{kind}/{id}"], "/orders/{number}", ["/orders/{number}", "/{kind}/{id}"]),
        (["/orders/export"], "/orders/{id}", ["/orders/export", "/orders/{id}"]),
        (["/orders/{id}"], "/orders/{name}", ["/orders/{id}", "/orders/{name}"]),
        (["/orders/{id}"], "/orders/export/all", ["/orders/{id}", "/orders/export/all"]),
        (["/{kind}/export"], "/orders/{id}", ["/{kind}/export", "/orders/{id}"]),
        (["/a.b/{id}"], "/axb/c", ["/a.b/{id}", "/axb/c"]),
    ],
)
def test_route_is_added_in_front_of_the_one_that_takes_its_requests(tmp_path, present, new, order):
    exported(tmp_path, *(operation(path, ()) for path in present))
    made, routes, _ = exported(tmp_path, *(operation(path, ()) for path in (*present, new)))

    assert (list(routes["paths"]), made.warnings) == (order, [])
    assert all(routes["paths"][path]["x-zuplo-path"] == {"pathMode": "open-api"} for path in order)
    assert exported(tmp_path, *(operation(path, ()) for path in (*present, new)))[0].files == {}


@pytest.mark.parametrize("wildcard", ["/(.*)", "/orders/:id", "/*", "/:kind/(.*)"])
def test_route_is_added_in_front_of_a_wildcard_of_the_gateway(tmp_path, wildcard):
    own = {"x-zuplo-path": {"pathMode": "url-pattern"}, "get": {"operationId": "own", "responses": {}}}
    (tmp_path / "config").mkdir()
    (tmp_path / ROUTES).write_text(json.dumps({"paths": {"/first": own, wildcard: own}}))

    _, routes, _ = exported(tmp_path, operation("/orders/{id}", ()), operation("/orders/export", ()))
    expected = ["/first", "/orders/export", "/orders/{id}", wildcard]
    if wildcard == "/orders/:id":  # it matches the same as /orders/{id}
        expected = ["/first", "/orders/export", wildcard, "/orders/{id}"]
    assert list(routes["paths"]) == expected


def test_route_behind_the_one_that_takes_its_requests_is_a_warning(tmp_path):
    _, routes, _ = exported(tmp_path, operation("/orders/export", ()), operation("/orders/{id}", ()))
    (tmp_path / ROUTES).write_text(json.dumps(routes | {"paths": dict(reversed(routes["paths"].items()))}))

    made, _, _ = exported(tmp_path, operation("/orders/export", ()), operation("/orders/{id}", ()))
    message = "GET /orders/export comes after /orders/{id}, which takes its requests: move it in front of that path"
    assert (made.files, made.warnings) == ({}, [message])
    others = (operation("/orders/export", (), "post"), operation("/orders/{id}", ()))
    assert exported(tmp_path, *others)[0].warnings == []  # another method


def test_route_whose_parameter_matches_slashes_is_left_out(tmp_path):
    parameter = {"name": "path", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^(.*)$"}}
    rest = Operation("/files/{path}", "get", "x", "Things", "Things.", "", (parameter,), ())

    made, routes, _ = exported(tmp_path, rest)
    assert routes["paths"] == {} and "slashes" in made.left_out[0][1]


def test_scopes_of_a_consumer_reach_the_token(tmp_path):
    _, routes, policies = exported(tmp_path, ORDERS)
    signing = policies["policies"][1]["handler"]["options"]

    assert inbound(routes, "/orders") == ["authenticate", "sign-for-origin"]
    assert signing["claimsFromUser"] == {"scope": "data.scope", "roles": "data.roles"}
    readme = (tmp_path / "README.md").read_text()
    assert '{ "scope": "read:orders", "roles": ["admin"] }' in readme  # those of the exported routes
    assert "`read:orders`" in routes["paths"]["/orders"]["get"]["description"]


def copied(policies):
    (signing,) = (each for each in policies["policies"] if each["name"] == "sign-for-origin")
    return signing["handler"]["options"].get("claimsFromUser")


def test_claims_that_routes_require_reach_the_token(tmp_path):
    tenant = operation("/tenant", ("read:orders",), claims=("tenant", "sub", "iss=https://gw.example"))
    others = operation("/others", None, claims=("plan=gold|silver", "app.limit:=5", "urn:a.b", "roles=admin"))
    _, routes, policies = exported(tmp_path, ORDERS, tenant, others)

    assert copied(policies) == {
        "scope": "data.scope",
        "roles": "data.roles",
        "tenant": "data.tenant",
        "plan": "data.plan",
        "app": "data.app",
        "urn:a.b": 'data["urn:a.b"]',
    }
    assert inbound(routes, "/others") == ["authenticate", "sign-for-origin"]
    described = routes["paths"]["/others"]["get"]["description"]
    assert 'Requires the claim `plan`: `"gold"` or `"silver"`, or a list with one of them.' in described
    expected = "Requires the scope `read:orders`.\n\nRequires the claim `tenant`.\n\nRequires the claim `iss`: "
    assert routes["paths"]["/tenant"]["get"]["description"].startswith(expected)
    readme = (tmp_path / "README.md").read_text()
    (example,) = (block for block in readme.split("```json\n")[1:] if '"scope"' in block)
    assert json.loads(example.partition("```")[0]) == {
        "scope": "read:orders",
        "roles": ["admin"],
        "tenant": "...",
        "plan": "gold",
        "app": {"limit": 5},
        "urn:a.b": "...",
    }
    assert "| `tenant` | any value | `GET /tenant` |" in readme and "| `app.limit` | `5` | `GET /others` |" in readme
    assert "| `sub`" not in readme and "| `iss`" not in readme


class Caller(Claims):
    sub: str
    tenant: str
    team: str | None = None
    region: str = Field(alias="https://a.example/region")
    unit: str = Field(validation_alias=AliasPath("org", "unit"))
    mail: str = Field(validation_alias=AliasChoices("email", "e.mail"))


class Own(BaseModel):
    session: str

    @classmethod
    def __from_request__(cls, request):
        return cls(session="x")


def test_claims_that_an_action_takes_reach_the_token(tmp_path):
    taken = operation("/taken", (), claims=("tenant",), caller=(Caller, Own))
    _, routes, policies = exported(tmp_path, ORDERS, taken)

    assert copied(policies) == {
        "scope": "data.scope",
        "roles": "data.roles",
        "tenant": "data.tenant",
        "team": "data.team",
        "https://a.example/region": 'data["https://a.example/region"]',
        "org": "data.org",
        "email": "data.email",
        "e.mail": 'data["e.mail"]',
    }
    required = ("tenant", "https://a.example/region", "org")
    expected = "\n\n".join(f"Requires the claim `{name}`." for name in required)
    assert routes["paths"]["/taken"]["get"]["description"] == expected
    readme = (tmp_path / "README.md").read_text()
    assert "| `team` | a value for `Caller.team`; may be absent | `GET /taken` |" in readme
    assert "`team`" in readme.partition("into the token")[0] and '"team"' not in readme
    assert '"https://a.example/region": "..."' in readme


def test_claim_of_a_new_route_is_added_to_the_policy_that_is_there(tmp_path):
    exported(tmp_path, ORDERS)
    file = tmp_path / POLICIES
    text = file.read_text().replace('"roles": "data.roles"', '"roles":"data.groups",   "tenant": "data.org"')
    text = text.replace('"expiresIn": 300,', '"expiresIn":60, "additionalClaims": {"region": "eu"},')
    file.write_text(text)
    claims = ("tenant", "region=eu", "plan=gold", "roles=admin", "sub")

    made, _, policies = exported(tmp_path, ORDERS, operation("/plans", (), claims=claims))
    assert copied(policies) == {
        "scope": "data.scope",
        "roles": "data.groups",
        "tenant": "data.org",
        "plan": "data.plan",
    }
    assert file.read_text() == text.replace('"data.org"', '"data.org",\n            "plan": "data.plan"')
    assert made.warnings == []
    expected = ("update", "policy sign-for-origin: it copies the claim plan from a consumer's metadata")
    assert [part for part in made.parts if "policy" in part[1]] == [expected]
    assert exported(tmp_path, ORDERS, operation("/plans", (), claims=claims))[0].files == {}


def test_policy_that_copies_no_claims_is_a_warning_and_one_of_another_type_is_the_gateways(tmp_path):
    exported(tmp_path, ORDERS)
    file, planned = tmp_path / POLICIES, operation("/plans", (), claims=("plan",))
    text = file.read_text()
    file.write_text(text.replace("claimsFromUser", "x-claims"))
    made, _, policies = exported(tmp_path, ORDERS, planned)
    assert copied(policies) is None and POLICIES not in made.files
    assert made.warnings == ["policy sign-for-origin has no claimsFromUser, and so no claim plan: is that meant?"]

    file.write_text(text.replace("upstream-zuplo-jwt-auth-inbound", "custom-code-inbound"))
    made, _, _ = exported(tmp_path, ORDERS, planned)
    assert (made.files, made.warnings) == ({}, [])


def test_claims_of_an_identity_provider_are_not_copied(tmp_path):
    provider = ("https://idp.test/", None, "https://idp.test/keys")
    _, _, policies = exported(tmp_path, operation("/plans", (), claims=("plan",)), identity_provider=provider)

    assert [each["name"] for each in policies["policies"]] == ["authenticate-user"]
    assert "metadata" not in (tmp_path / "README.md").read_text()


def test_readme_of_the_gateway_says_how_to_deploy_it(tmp_path):
    exported(tmp_path, operation("/notes", ()))
    readme = (tmp_path / "README.md").read_text()

    deploy = readme[readme.index("## Deploy it") :]
    assert "npx zuplo project create --name " in deploy and "Environment Variables" in deploy
    assert "For example:" in readme  # no route requires a scope


def test_secret_of_the_gateway_is_added_to_each_request_and_not_written(tmp_path):
    _, routes, policies = exported(tmp_path, ORDERS, HOOK, with_public=True, secret_header="backend-secret")

    assert inbound(routes, "/orders") == ["authenticate", "sign-for-origin", "add-backend-secret"]
    assert inbound(routes, "/hook", "post") == ["add-backend-secret"]
    header = {"name": "backend-secret", "value": "$env(BACKEND_SECRET)", "overwrite": True}
    assert policies["policies"][2]["handler"]["options"] == {"headers": [header]}
    assert "BACKEND_SECRET" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "env.example").read_text().endswith("BACKEND_SECRET=\n")


def test_export_adds_the_secret_that_the_origin_asks_for(project, tmp_path):
    secret = "s" * 32
    settings = {"GATEWAY_SECRET": secret, "GATEWAY_SECRET_HEADER": "x-backend", "JWT_ISSUER": "https://gw.example"}
    ended = craft(project, "zuplo:export", str(tmp_path / "gateway"), JWT_AUDIENCE="orders-api", **settings)
    assert ended.returncode == 0, ended.stderr

    policies = loaded(tmp_path / "gateway", POLICIES)["policies"]
    assert policies[-1]["handler"]["options"]["headers"][0]["name"] == "x-backend"
    assert not any(secret in file.read_text() for file in (tmp_path / "gateway").rglob("*") if file.is_file())


def test_api_key_is_removed_if_the_token_has_another_header(tmp_path):
    _, routes, policies = exported(tmp_path, ORDERS, HOOK, with_public=True, header="X-Gateway-Token")

    assert inbound(routes, "/orders") == ["authenticate", "sign-for-origin", "remove-api-key"]
    assert inbound(routes, "/hook", "post") == []
    (removing,) = (each for each in policies["policies"] if each["name"] == "remove-api-key")
    assert removing["policyType"] == "remove-headers-inbound"
    assert removing["handler"]["options"] == {"headers": ["authorization"]}


def test_errors_of_the_gateway_are_described_instead_of_those_of_tokens(tmp_path):
    _, routes, _ = exported(tmp_path / "gateway", ORDERS)
    _, of_users, _ = exported(
        tmp_path / "user", ORDERS, identity_provider=("https://idp.test/", None, "https://k.test")
    )

    own, users = (each["components"]["responses"]["401"]["content"] for each in (routes, of_users))
    assert list(own) == ["application/problem+json"] and "examples" in users["application/json"]
    assert "token" not in json.dumps(routes["components"]["responses"]["400"])


def test_tags_are_added_and_those_that_exist_stay(tmp_path):
    exported(tmp_path, ORDERS)
    file = tmp_path / ROUTES
    file.write_text(file.read_text().replace('"name": "Things"', '"name": "Things", "description": "Ours"'))
    other = Operation("/pets", "get", "pets", "PetShop", "Pets", "", (), (), about="Pets of all kinds.")

    _, routes, _ = exported(tmp_path, ORDERS, other)
    pets = {"name": "Pet shop", "description": "Pets of all kinds."}
    assert routes["tags"] == [{"name": "Things", "description": "Ours"}, pets]


def test_token_of_an_identity_provider_passes_through(tmp_path):
    provider = ("https://idp.test/", "orders", "https://idp.test/keys")
    _, routes, policies = exported(tmp_path, ORDERS, identity_provider=provider, header="X-Token")

    assert inbound(routes, "/orders") == ["authenticate-user"]
    (policy,) = policies["policies"]
    assert policy["policyType"] == "open-id-jwt-auth-inbound"
    assert policy["handler"]["options"] == {
        "issuer": "https://idp.test/",
        "jwkUrl": "https://idp.test/keys",
        "allowUnauthenticatedRequests": False,
        "audience": "orders",
        "authHeader": "X-Token",
    }
    assert not (tmp_path / "modules").exists()


def test_route_that_lost_a_policy_is_a_warning(tmp_path):
    exported(tmp_path, ORDERS)
    file = tmp_path / ROUTES
    file.write_text(file.read_text().replace('"authenticate",', "", 1))

    made, _, _ = exported(tmp_path, ORDERS)
    assert made.files == {} and made.warnings == ["GET /orders has no policy authenticate: is that meant?"]


@pytest.mark.parametrize("folder", ["", ".", "project", "parent"])
def test_export_rejects_the_folder_of_the_project(project, folder):
    target = {"project": str(project), "parent": str(project.parent)}.get(folder, folder)
    ended = craft(project, "zuplo:export", target)

    assert ended.returncode == 1 and not (project / "package.json").exists()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (ROUTES, b"\xff\xfe"),
        (ROUTES, b"{"),
        (ROUTES, b"[]"),
        (ROUTES, b'{"paths": []}'),
        (ROUTES, b'{"paths": {"/a": 1}}'),
        (ROUTES, b'{"paths": {}, "paths": {}}'),
        (ROUTES, b'{"components": 1}'),
        (ROUTES, b"[" * 100_000),
        (POLICIES, b'{"policies": {}}'),
        (POLICIES, b"// comment\n{}"),
        (POLICIES, None),
        ("config", b"a file"),
    ],
)
def test_file_that_cannot_be_read_is_one_line_and_status_2(project, tmp_path, path, content):
    file = tmp_path / "gateway" / path
    file.parent.mkdir(parents=True)
    if content is None:
        (tmp_path / "target").write_text('{"policies": []}')
        file.symlink_to(tmp_path / "target")
    else:
        file.write_bytes(content)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises((OSError, ValueError)) as raised:
        export([ORDERS], gateway(), tmp_path / "gateway")
    assert str(file) in str(raised.value) and len(str(raised.value).splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_file_ends_the_command_with_status_2(project, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / POLICIES).write_text("{")
    ended = craft(project, "zuplo:export", str(tmp_path))

    assert ended.returncode == 2 and len(ended.stderr.strip().splitlines()) == 1 and POLICIES in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_folder_that_leads_elsewhere_is_rejected(tmp_path):
    (tmp_path / "gateway").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "gateway/config").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ValueError, match="symbolic link"):
        export([ORDERS], gateway(), tmp_path / "gateway")


@pytest.mark.parametrize(
    ("audience", "written"),
    [("orders-api", "orders-api"), ("https://gw.example/*", None), ("*", None), ("https://gw.example/*,b", "b")],
)
def test_export_uses_the_audience_of_the_origin(project, tmp_path, audience, written):
    settings = {"JWT_ISSUER": "https://gw.example/__zuplo/issuer", "JWT_AUDIENCE": audience}
    ended = craft(project, "zuplo:export", str(tmp_path / "gateway"), **settings)
    assert ended.returncode == 0, ended.stderr

    options = loaded(tmp_path / "gateway", POLICIES)["policies"][1]["handler"]["options"]
    assert options.get("audience") == written


def test_identity_of_a_user_needs_one_issuer_and_its_keys(project, tmp_path):
    for settings, message in [
        ({}, "JWT_ISSUER"),
        ({"JWT_ISSUER": "https://a.test,https://b.test", "JWT_AUDIENCE": "a"}, "one issuer"),
        ({"JWT_ISSUER": "https://a.test", "JWT_AUDIENCE": "a", "JWKS_URL": "discovery"}, "JWKS_URL"),
    ]:
        ended = craft(project, "zuplo:export", str(tmp_path / "gateway"), "--identity", "user", **settings)
        assert ended.returncode == 1 and message in ended.stderr and not (tmp_path / "gateway").exists()
    settings = {"JWT_ISSUER": "https://a.test", "JWT_AUDIENCE": "a", "JWKS_URL": "https://a.test/keys"}
    ended = craft(project, "zuplo:export", str(tmp_path / "gateway"), "--identity", "user", **settings)
    assert ended.returncode == 0, ended.stderr
    options = loaded(tmp_path / "gateway", POLICIES)["policies"][0]["handler"]["options"]
    assert (options["issuer"], options["audience"], options["jwkUrl"]) == ("https://a.test", "a", "https://a.test/keys")


def test_openapi_write_runs_without_settings(project, tmp_path):
    file = tmp_path / "openapi.json"
    for settings in ({}, {"APP_ENV": "production"}):
        assert start_craft(project, "openapi:write", str(file), **settings).returncode == 0
        validate(json.loads(file.read_text()), cls=OpenAPIV31SpecValidator)
    assert json.loads(craft(project, "openapi:write", "-").stdout) == json.loads(file.read_text())
    missing = tmp_path / "missing" / "file"
    ended = craft(project, "openapi:write", str(missing))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"openapi:write: cannot write {missing}: No such file or directory\n"
