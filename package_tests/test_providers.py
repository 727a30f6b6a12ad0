"""`docs/providers.md`: its settings accept the tokens of each provider, and reject those for others."""

import re
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from masonite.routes import Route

from package_tests.project.app.controllers.ProtectedController import ProtectedController
from package_tests.support.applications import project_application
from package_tests.support.providers import Internet
from package_tests.support.servers import ROOT
from package_tests.support.signing import Key, b64
from package_tests.support.wsgi_client import request
from zuplo_origin.jwks.ca_bundle import VARIABLES as CA_VARIABLES
from zuplo_origin.settings import SETTINGS

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
TENANT, OTHER_TENANT = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
ENTRA = "https://login.microsoftonline.com"
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
SERVICE_ACCOUNT = "gateway@my-project.iam.gserviceaccount.com"
ZUPLO = "https://your-gateway.example.com/__zuplo/issuer"
SHARED = "https://dev.zuplo.com/v1/client-auth/auth_o8PUdhKxSTOiB794GWPwLQCD"
FIREBASE_KEYS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
ACCESS_TAG = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2"
BACKEND = "/projects/123456789012/global/backendServices/3456789012345678901"
CERTIFICATE = {"x5t": "CNv0OI3RwqlHFEVnaoMAshCH2XE", "x5c": ["MIIC"]}
ANOTHER_AUDIENCE = "The token is for another audience"
ANOTHER_ISSUER = "The token's issuer is not accepted"
MISMATCH = "A claim of the token has another value than required"
LACKS = "The token lacks a claim"


@dataclass(frozen=True)
class Provider:
    """The shapes of one provider: its key set at `keys`, the claims of its tokens, and the header that carries them.

    `jwk` has the members of its keys that differ, `more` other members of the key set, `discovery` the URL of its
    document and the issuer in it. `foreign` are claims of tokens for others, each with the details of the response.
    """

    keys: str
    claims: dict[str, Any]
    foreign: list[tuple[dict[str, Any], str]]
    algorithm: str = "RS256"
    jwk: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    carrier: str = "Authorization: Bearer"
    discovery: tuple[str, str] | None = None
    content_type: str = "application/json; charset=utf-8"


def zuplo(**claims: Any) -> dict[str, Any]:
    return {"iss": ZUPLO, "aud": "orders-api", "sub": "api-gateway"} | claims


PROVIDERS = {
    "Zuplo: JwtServicePlugin and its policy": Provider(
        keys=f"{ZUPLO}/.well-known/jwks.json",
        algorithm="EdDSA",
        claims=zuplo(scope="read:orders"),
        scopes=("read:orders",),
        foreign=[({"iss": "https://other.example.com/__zuplo/issuer"}, ANOTHER_ISSUER), ({"aud": None}, LACKS)],
    ),
    "Zuplo: a header of its own": Provider(
        keys=f"{ZUPLO}/.well-known/jwks.json",
        algorithm="EdDSA",
        claims=zuplo(sub="user-1"),
        carrier="X-Gateway-Token:",
        foreign=[({"iss": "https://other.example.com/__zuplo/issuer"}, ANOTHER_ISSUER)],
    ),
    "Zuplo: GCP self-signed tokens": Provider(
        keys=f"https://www.googleapis.com/service_accounts/v1/jwk/{SERVICE_ACCOUNT}",
        claims={"iss": SERVICE_ACCOUNT, "sub": SERVICE_ACCOUNT, "aud": "https://orders.example.com"},
        foreign=[({"iss": "other@other-project.iam.gserviceaccount.com"}, ANOTHER_ISSUER)],
    ),
    "Zuplo: the shared issuer": Provider(
        keys=f"{SHARED}/.well-known/jwks.json",
        claims={
            "iss": SHARED,
            "aud": "orders-api",
            "account": "acme",
            "project": "orders",
            "deployment": "orders-main",
        },
        foreign=[({"account": "evil"}, MISMATCH), ({"project": "other"}, MISMATCH), ({"project": None}, LACKS)],
    ),
    "Auth0": Provider(
        keys="https://acme.us.auth0.com/.well-known/jwks.json",
        jwk=CERTIFICATE,
        claims={
            "iss": "https://acme.us.auth0.com/",
            "sub": "auth0|507f1f77bcf86cd799439011",
            "aud": ["https://orders.example.com", "https://acme.us.auth0.com/userinfo"],
            "azp": "my_client_id",
            "scope": "openid profile",
            "permissions": ["read:orders"],
            "https://acme.example/role": "admin",
        },
        scopes=("read:orders", "openid"),
        foreign=[
            ({"iss": "https://evil.us.auth0.com/"}, ANOTHER_ISSUER),
            ({"iss": "https://acme.us.auth0.com"}, ANOTHER_ISSUER),
            ({"aud": ["https://acme.us.auth0.com/userinfo"]}, ANOTHER_AUDIENCE),
        ],
    ),
    "Okta": Provider(
        keys="https://acme.okta.com/oauth2/default/v1/keys",
        header={"typ": None},
        discovery=(
            "https://acme.okta.com/oauth2/default/.well-known/openid-configuration",
            "https://acme.okta.com/oauth2/default",
        ),
        claims={
            "ver": 1,
            "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
            "iss": "https://acme.okta.com/oauth2/default",
            "aud": "api://default",
            "cid": "0oanmzeqwLyBDPDWp5d6",
            "uid": "00uid4BxXw6I6TV4m0g3",
            "scp": ["orders:read", "openid"],
            "sub": "user@example.com",
        },
        scopes=("orders:read",),
        foreign=[({"iss": "https://acme.okta.com", "aud": "https://acme.okta.com"}, ANOTHER_ISSUER)],
    ),
    "Microsoft Entra ID, version 2 tokens": Provider(
        keys=f"{ENTRA}/{TENANT}/discovery/v2.0/keys",
        jwk={"alg": None, "issuer": f"{ENTRA}/{{tenantid}}/v2.0", "cloud_instance_name": "microsoftonline.com"}
        | CERTIFICATE,
        header={"x5t": CERTIFICATE["x5t"]},
        discovery=(f"{ENTRA}/{TENANT}/v2.0/.well-known/openid-configuration", f"{ENTRA}/{TENANT}/v2.0"),
        claims={
            "iss": f"{ENTRA}/{TENANT}/v2.0",
            "aud": CLIENT,
            "tid": TENANT,
            "azp": "client",
            "oid": "oid",
            "sub": "sub",
            "scp": "access_as_user Orders.Read",
            "roles": ["Orders.Write.All"],
            "ver": "2.0",
        },
        scopes=("Orders.Read", "Orders.Write.All"),
        foreign=[
            ({"iss": f"{ENTRA}/{OTHER_TENANT}/v2.0", "tid": OTHER_TENANT}, ANOTHER_ISSUER),
            ({"tid": OTHER_TENANT}, MISMATCH),
            ({"aud": "00000003-0000-0000-c000-000000000000"}, ANOTHER_AUDIENCE),
        ],
    ),
    "Microsoft Entra ID, version 1 tokens": Provider(
        keys=f"{ENTRA}/{TENANT}/discovery/keys",
        jwk={"alg": None} | CERTIFICATE,
        header={"x5t": CERTIFICATE["x5t"]},
        claims={
            "iss": f"https://sts.windows.net/{TENANT}/",
            "aud": f"api://{CLIENT}",
            "tid": TENANT,
            "appid": "client",
            "scp": "Orders.Read",
            "roles": ["Orders.Write.All"],
            "ver": "1.0",
        },
        scopes=("Orders.Read", "Orders.Write.All"),
        foreign=[
            ({"iss": f"https://sts.windows.net/{OTHER_TENANT}/", "tid": OTHER_TENANT}, ANOTHER_ISSUER),
            ({"tid": OTHER_TENANT}, MISMATCH),
            ({"aud": "https://graph.microsoft.com"}, ANOTHER_AUDIENCE),
        ],
    ),
    "Keycloak": Provider(
        keys="https://keycloak.example.com/realms/acme/protocol/openid-connect/certs",
        jwk=CERTIFICATE,
        discovery=(
            "https://keycloak.example.com/realms/acme/.well-known/openid-configuration",
            "https://keycloak.example.com/realms/acme",
        ),
        claims={
            "iss": "https://keycloak.example.com/realms/acme",
            "aud": ["orders-api", "account"],
            "typ": "Bearer",
            "azp": "web",
            "acr": "1",
            "realm_access": {"roles": ["offline_access", "manager"]},
            "resource_access": {"orders-api": {"roles": ["read:orders"]}, "account": {"roles": ["view-profile"]}},
            "scope": "profile email",
            "email_verified": True,
        },
        scopes=("manager", "read:orders", "email"),
        foreign=[
            ({"iss": "https://keycloak.example.com/realms/evil"}, ANOTHER_ISSUER),
            ({"aud": "account"}, ANOTHER_AUDIENCE),
        ],
    ),
    "Amazon Cognito": Provider(
        keys="https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI/.well-known/jwks.json",
        header={"typ": None},
        claims={
            "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI",
            "client_id": "1h57kf5cpq17m0eml12EXAMPLE",
            "token_use": "access",
            "scope": "orders/read",
            "cognito:groups": ["admins"],
            "version": 2,
            "username": "me",
        },
        scopes=("orders/read", "admins"),
        foreign=[
            ({"client_id": "another"}, MISMATCH),
            ({"client_id": None, "aud": "1h57kf5cpq17m0eml12EXAMPLE", "token_use": "id"}, LACKS),
            ({"token_use": "id"}, MISMATCH),
            ({"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Other"}, ANOTHER_ISSUER),
        ],
    ),
    "Google: ID tokens of service accounts": Provider(
        keys=GOOGLE_KEYS,
        claims={
            "iss": "https://accounts.google.com",
            "aud": "https://orders.example.com",
            "azp": "113774264463038321964",
            "email": SERVICE_ACCOUNT,
            "email_verified": True,
            "sub": "113774264463038321964",
        },
        foreign=[
            ({"email": "evil@evil.iam.gserviceaccount.com"}, MISMATCH),
            ({"email_verified": False}, MISMATCH),
            ({"email_verified": "true"}, MISMATCH),
            ({"email": None}, LACKS),
        ],
    ),
    "Firebase": Provider(
        keys=FIREBASE_KEYS,
        claims={
            "iss": "https://securetoken.google.com/my-project",
            "aud": "my-project",
            "auth_time": 1700000000,
            "user_id": "me",
            "sub": "me",
            "firebase": {"identities": {}, "sign_in_provider": "password"},
        },
        foreign=[({"iss": "https://securetoken.google.com/evil", "aud": "evil"}, ANOTHER_ISSUER)],
    ),
    "Supabase": Provider(
        keys="https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json",
        algorithm="ES256",
        jwk={"key_ops": ["verify"], "ext": True},
        claims={
            "iss": "https://abcdefghijklmnopqrst.supabase.co/auth/v1",
            "aud": "authenticated",
            "role": "authenticated",
            "is_anonymous": False,
            "sub": "11111111-2222-3333-4444-555555555555",
            "app_metadata": {"provider": "email"},
        },
        foreign=[
            ({"iss": "https://evilevilevilevilevil.supabase.co/auth/v1"}, ANOTHER_ISSUER),
            ({"is_anonymous": True}, MISMATCH),
            ({"role": "anon"}, MISMATCH),
        ],
    ),
    "Clerk": Provider(
        keys="https://clerk.example.com/.well-known/jwks.json",
        header={"cat": "cl_B7d4PD111AAA"},
        claims={"iss": "https://clerk.example.com", "azp": "https://app.example.com", "sid": "sess_1", "sub": "user_1"},
        foreign=[
            ({"azp": "https://other.example.com"}, MISMATCH),
            ({"azp": None}, LACKS),
            ({"iss": "https://evil.clerk.accounts.dev"}, ANOTHER_ISSUER),
        ],
    ),
    "Kubernetes service accounts": Provider(
        keys="https://kubernetes.default.svc.cluster.local/openid/v1/jwks",
        content_type="application/jwk-set+json",
        header={"typ": None},
        claims={
            "iss": "https://kubernetes.default.svc.cluster.local",
            "aud": ["orders-api"],
            "sub": "system:serviceaccount:gateway:zuplo",
            "kubernetes.io": {"namespace": "gateway", "serviceaccount": {"name": "zuplo", "uid": "1"}},
        },
        foreign=[
            ({"sub": "system:serviceaccount:default:default"}, MISMATCH),
            ({"aud": ["https://kubernetes.default.svc.cluster.local"]}, ANOTHER_AUDIENCE),
            ({"iss": "kubernetes/serviceaccount"}, ANOTHER_ISSUER),
            ({"exp": None}, LACKS),
        ],
    ),
    "GitHub Actions": Provider(
        keys="https://token.actions.githubusercontent.com/.well-known/jwks",
        jwk=CERTIFICATE,
        header={"x5t": CERTIFICATE["x5t"]},
        discovery=(
            "https://token.actions.githubusercontent.com/.well-known/openid-configuration",
            "https://token.actions.githubusercontent.com",
        ),
        claims={
            "iss": "https://token.actions.githubusercontent.com",
            "aud": "https://orders.example.com",
            "sub": "repo:acme/orders:ref:refs/heads/main",
            "repository": "acme/orders",
            "repository_id": "123456789",
            "repository_owner": "acme",
            "repository_owner_id": "987654",
            "ref": "refs/heads/main",
            "event_name": "push",
        },
        foreign=[
            ({"repository_id": "1", "repository": "evil/orders"}, MISMATCH),
            ({"repository_owner_id": "1"}, MISMATCH),
            ({"ref": "refs/pull/1/merge"}, MISMATCH),
        ],
    ),
    "Cloudflare Access": Provider(
        keys="https://acme.cloudflareaccess.com/cdn-cgi/access/certs",
        more={"public_cert": {"kid": "1", "cert": "-----BEGIN"}, "public_certs": [{"kid": "1", "cert": "-----BEGIN"}]},
        header={"typ": None},
        carrier="Cf-Access-Jwt-Assertion:",
        claims={
            "iss": "https://acme.cloudflareaccess.com",
            "aud": [ACCESS_TAG],
            "email": "me@example.com",
            "type": "app",
            "identity_nonce": "6ei69kawdKzMIAPF",
            "sub": "",
            "common_name": "e367826f93b8d71185e03fe518aff3b4.access",
        },
        foreign=[({"iss": "https://evil.cloudflareaccess.com"}, ANOTHER_ISSUER)],
    ),
    "Google Identity-Aware Proxy": Provider(
        keys="https://www.gstatic.com/iap/verify/public_key-jwk",
        algorithm="ES256",
        carrier="x-goog-iap-jwt-assertion:",
        claims={
            "iss": "https://cloud.google.com/iap",
            "aud": BACKEND,
            "sub": "accounts.google.com:112233445566778899000",
            "email": "me@example.com",
            "hd": "example.com",
        },
        foreign=[({"aud": BACKEND.replace("123456789012", "999999999999")}, ANOTHER_AUDIENCE)],
    ),
    "AD FS": Provider(
        keys="https://adfs.example.com/adfs/discovery/keys",
        jwk=CERTIFICATE,
        header={"x5t": CERTIFICATE["x5t"]},
        discovery=("https://adfs.example.com/adfs/.well-known/openid-configuration", "https://adfs.example.com/adfs"),
        claims={
            "iss": "http://adfs.example.com/adfs/services/trust",
            "aud": f"microsoft:identityserver:{CLIENT}",
            "apptype": "Confidential",
            "appid": "client",
            "scp": "openid orders.read",
            "role": "Managers",
            "ver": "1.0",
        },
        scopes=("orders.read", "Managers"),
        foreign=[({"iss": "http://adfs.evil.example/adfs/services/trust"}, ANOTHER_ISSUER)],
    ),
}


def sections():
    """Return the settings of each section of the page, by its heading."""
    text = (ROOT / "docs" / "providers.md").read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    blocks = {
        heading: re.findall(r"^```dotenv\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }
    return {
        heading: dict(line.split("=", 1) for line in "".join(found).splitlines())
        for heading, found in blocks.items()
        if found
    }


SECTIONS = sections()


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    urls = [each.keys for each in PROVIDERS.values()]
    urls += [each.discovery[0] for each in PROVIDERS.values() if each.discovery]
    made = Internet(tmp_path_factory.mktemp("internet"), urls)
    yield made
    made.close()


KEYS = {name: Key(provider.algorithm, f"k-{number}") for number, (name, provider) in enumerate(PROVIDERS.items())}


def publish(internet, name):
    """Publish the key set of a provider: a key of the next rotation, one for encryption, and the one in use."""
    provider, key = PROVIDERS[name], KEYS[name]
    encryption = Key("RS256", "enc").jwk(use="enc", alg="RSA-OAEP")
    following = Key(provider.algorithm, "next")
    document = {"keys": [each.jwk(**provider.jwk) for each in (following, key)] + [encryption]} | provider.more
    internet.documents = {provider.keys: document}
    internet.types = {provider.keys: provider.content_type}
    if provider.discovery:
        url, issuer = provider.discovery
        internet.documents[url] = {"issuer": issuer, "jwks_uri": provider.keys, "token_endpoint": f"{issuer}/token"}


@pytest.fixture
def application(internet, monkeypatch, request):
    """Return an application with the settings of a section as they are, as in production."""
    name = request.node.callspec.params["name"]
    for variable in (*PROXY_VARIABLES, *CA_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in internet.environment.items():
        monkeypatch.setenv(variable, value)
    publish(internet, name)
    internet.requests.clear()  # the application fetches as it starts
    defaults = {"APP_ENV": "production", "JWT_ALGORITHMS": SETTINGS["JWT_ALGORITHMS"].default}
    made = project_application.__wrapped__(**defaults | SECTIONS[name])
    scopes = ",".join(PROVIDERS[name].scopes)
    made.make("router").add(
        Route.get("/scoped", ProtectedController.show).middleware(f"jwt:{scopes}" if scopes else "jwt")
    )
    made.make("router").add(Route.get("/other", ProtectedController.show).middleware("jwt:scope:of:others"))
    return made


def send(application, name, path="/protected", **changes):
    provider = PROVIDERS[name]
    now = int(time.time())
    claims = {"iat": now, "nbf": now, "exp": now + 300, "sub": "me"} | provider.claims | changes
    token = KEYS[name].token({k: v for k, v in claims.items() if v is not None}, **provider.header)
    field, _, scheme = provider.carrier.partition(":")
    return request(application, "GET", path, {field: f"{scheme} {token}".strip()})


def test_every_section_has_a_provider_and_every_provider_a_section():
    assert list(SECTIONS) == list(PROVIDERS)


@pytest.mark.parametrize("name", SECTIONS)
def test_settings_pin_an_audience_or_claims(name):
    settings = SECTIONS[name]

    assert settings["JWT_AUDIENCE"] != "*" or "JWT_REQUIRED_CLAIMS" in settings
    assert "/*" not in settings["JWT_AUDIENCE"]


@pytest.mark.parametrize("name", SECTIONS)
def test_token_of_the_provider_is_accepted_with_its_scopes(application, name):
    response = send(application, name)
    assert (response.status, response.json.get("details")) == (200, None)
    assert response.json["user"]["iss"] == PROVIDERS[name].claims["iss"]

    assert send(application, name, "/scoped").status == 200
    assert send(application, name, "/other").status == 403


@pytest.mark.parametrize("name", SECTIONS)
def test_token_for_another_audience_tenant_or_project_is_rejected(application, name):
    provider = PROVIDERS[name]
    foreign = list(provider.foreign)
    if SECTIONS[name]["JWT_AUDIENCE"] != "*":
        foreign += [({"aud": "https://another.example"}, ANOTHER_AUDIENCE), ({"aud": None}, LACKS)]
    responses = [send(application, name, **changes) for changes, _ in foreign]

    assert [response.status for response in responses] == [401] * len(foreign)
    assert [response.json["details"] for response in responses] == [details for _, details in foreign]


@pytest.mark.parametrize("name", SECTIONS)
def test_keys_are_fetched_from_the_provider_alone(application, internet, name):
    send(application, name)
    provider = PROVIDERS[name]
    expected = [provider.keys]
    if SECTIONS[name].get("JWKS_URL") == "discovery":
        expected = [provider.discovery[0], provider.keys]

    # key sets of the tests before this one may still refresh in the background
    others = {url for each in PROVIDERS.values() for url in (each.keys, *(each.discovery or ())[:1])} - set(expected)
    assert list(dict.fromkeys(url for url, _ in internet.requests if url not in others)) == expected


@pytest.mark.parametrize("name", ["Google: ID tokens of service accounts"])
def test_google_tokens_are_accepted_with_both_forms_of_the_issuer(application, name):
    assert send(application, name, iss="accounts.google.com").status == 200
    assert send(application, name, iss="accounts.google.com", email="evil@example.com").status == 401


@pytest.mark.parametrize("name", ["Supabase"])
def test_supabase_tokens_of_the_legacy_secret_are_rejected(application, name):
    token = KEYS[name].token(PROVIDERS[name].claims | {"exp": time.time() + 300}, alg="HS256", kid=None)
    forged = token.rpartition(".")[0] + "." + b64(b"x" * 32)
    response = request(application, "GET", "/protected", {"Authorization": f"Bearer {forged}"})

    assert (response.status, response.json["details"]) == (401, "The token's algorithm is not allowed")
