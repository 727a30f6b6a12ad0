"""Settings: defaults, invalid values, and contradictions, all reported at once."""

import os
import re
import subprocess
import sys

import pytest

from package_tests.support.processes import forked_python
from package_tests.support.servers import PROJECT, ROOT, clean_environment
from zuplo_origin.jwt.claims import Audiences, BadAudience
from zuplo_origin.settings import SETTINGS, BadSettings, read_settings

GOOD = {"JWT_ISSUER": "https://gw.example/__zuplo/issuer", "JWT_AUDIENCE": "https://gw.example/*"}
SHARED = "https://dev.zuplo.com/v1/client-auth/auth_o8PUdhKxSTOiB794GWPwLQCD"


@pytest.fixture
def read(monkeypatch):
    """Return a function that reads the settings from an environment with the given variables only."""

    def read_them(**variables):
        for name in set(os.environ) - set(clean_environment()):
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

        class Fresh:
            def get(self, path, default=None):
                return default

        return read_settings(Fresh())

    return read_them


def problems(read, **variables):
    with pytest.raises(BadSettings) as caught:
        read(**GOOD | variables)
    return str(caught.value)


def test_settings_have_documented_defaults(read):
    settings = read(**GOOD)
    (issuer,) = settings.issuers

    assert settings.environment == "production"
    assert (settings.leeway, settings.header, settings.scheme, settings.realm) == (
        30,
        "Authorization",
        "Bearer",
        "Zuplo origin",
    )
    assert (settings.jwks.ttl, settings.jwks.max_stale, settings.jwks.timeout, settings.jwks.cooldown) == (
        600,
        3600,
        5,
        10,
    )
    assert (settings.cache_size, settings.max_token_length) == (1024, 8192)
    assert (settings.jwks_max_bytes, settings.port, settings.processes, settings.threads) == (262144, 8000, 2, 8)
    assert issuer.name == GOOD["JWT_ISSUER"]
    assert issuer.jwks_url == "https://gw.example/__zuplo/issuer/.well-known/jwks.json"
    assert issuer.algorithms == {"EdDSA", "RS256", "ES256", "PS256"}
    assert issuer.required_claims == {}


def test_env_example_lists_every_setting_with_its_default():
    example = dict(re.findall(r"^# ([A-Z0-9_]+)=(.*)$", (ROOT / ".env-example").read_text(), re.MULTILINE))
    del example["DATABASE_URL"]  # of config/database.py
    without_default = {name for name, value in example.items() if value.startswith("https://your-gateway.example.com/")}

    assert set(example) == set(SETTINGS)
    assert {name: SETTINGS[name].default for name in without_default} == dict.fromkeys(without_default, "")
    assert all(value == SETTINGS[name].default for name, value in example.items() if name not in without_default)


def test_empty_variable_means_the_default(read):
    settings = read(**GOOD, JWT_LEEWAY="", JWT_HEADER="", PORT="", JWKS_URL="", JWT_ALGORITHMS="")

    assert (settings.leeway, settings.header, settings.port) == (30, "Authorization", 8000)


def test_issuers_are_paired_with_urls_in_order(read):
    settings = read(
        JWT_ISSUER="https://a.example, https://b.example/x/",
        JWKS_URL="https://keys.example/a,discovery",
        JWT_AUDIENCE="orders-api",
        JWT_REQUIRED_CLAIMS="account=acme, project=orders",
    )

    assert [(one.name, one.jwks_url) for one in settings.issuers] == [
        ("https://a.example", "https://keys.example/a"),
        ("https://b.example/x/", "discovery"),
    ]
    assert settings.issuers[1].required_claims == {"account": "acme", "project": "orders"}


@pytest.mark.parametrize(
    "name",
    [
        "http://adfs.example.com/adfs/services/trust",
        "sa@project.iam.gserviceaccount.com",
        "accounts.google.com",
        "urn:example:issuer",
        "kubernetes/serviceaccount",
        "supabase",
        "https://a.example/?tenant=1#x",
        "https://m\u00fcnchen.example/",
        "two words",
    ],
)
def test_issuer_is_any_string_if_its_keys_are_named(read, name):
    (issuer,) = read(JWT_ISSUER=name, JWT_AUDIENCE="orders", JWKS_URL="https://a.example/jwks").issuers

    assert (issuer.name, issuer.jwks_url) == (name, "https://a.example/jwks")


def test_issuers_and_urls_with_commas_are_entries_of_the_configuration():
    class Config:
        def get(self, path, default=None):
            entry = {"issuer": "urn:a,b", "jwks_url": "https://a.example/jwks?x=1,2"}
            return {"jwt.issuers": [entry], "jwt.audience": "orders", "jwt.scope_claims": ["a,b", "c"]}.get(
                path, default
            )

    settings = read_settings(Config())

    assert [(one.name, one.jwks_url) for one in settings.issuers] == [("urn:a,b", "https://a.example/jwks?x=1,2")]
    assert settings.scope_claims == ("a,b", "c")


def test_empty_scheme_means_a_bare_token(read):
    assert read(**GOOD, JWT_SCHEME="").scheme == ""


WRONG = {
    "no issuer": ({"JWT_ISSUER": ""}, "JWT_ISSUER: not set"),
    "http issuer": ({"JWT_ISSUER": "http://gw.example"}, "JWT_ISSUER: invalid value 'http://gw.example'"),
    "issuer without a scheme": ({"JWT_ISSUER": "gw.example"}, "JWT_ISSUER: invalid value"),
    "issuer with a query": ({"JWT_ISSUER": "https://gw.example/?x"}, "JWT_ISSUER: invalid value"),
    "a repeated issuer": ({"JWT_ISSUER": "https://a.example,https://a.example"}, "expected each issuer once"),
    "an issuer beyond ASCII": (
        {"JWT_ISSUER": "https://m\u00fcnchen.example/"},
        "set JWKS_URL to its keys; the host in punycode: xn--mnchen-3ya.example",
    ),
    "a host that has no punycode": ({"JWT_ISSUER": "https://m\u00fc..example/"}, "JWT_ISSUER: invalid value"),
    "a URL beyond ASCII": (
        {"JWKS_URL": "https://m\u00fcnchen.example/"},
        "the host in punycode: xn--mnchen-3ya.example",
    ),
    "an issuer with a control character": (
        {"JWT_ISSUER": "urn:a\x07b", "JWKS_URL": "https://a.example/jwks"},
        "JWT_ISSUER: invalid value 'urn:a\\x07b'; expected the iss of the tokens, without control characters",
    ),
    "an issuer with a line break": (
        {"JWT_ISSUER": "https://a.example/\nx", "JWKS_URL": "https://a.example/jwks"},
        "without control characters",
    ),
    "an e-mail address without its keys": (
        {"JWT_ISSUER": "sa@project.iam.gserviceaccount.com"},
        "JWT_ISSUER: invalid value 'sa@project.iam.gserviceaccount.com'; expected an https URL",
    ),
    "discovery at an issuer with http": (
        {"JWT_ISSUER": "http://adfs.example.com/adfs/services/trust", "JWKS_URL": "discovery"},
        "for any other iss, set JWKS_URL to its keys",
    ),
    "discovery at an issuer that is no URL": (
        {"JWT_ISSUER": "urn:example", "JWKS_URL": "discovery"},
        "for any other iss, set JWKS_URL to its keys",
    ),
    "the keys of one of two issuers that are no URLs": (
        {"JWT_ISSUER": "https://a.example,urn:example", "JWKS_URL": "https://a.example/jwks,discovery"},
        "JWT_ISSUER: invalid value 'urn:example'",
    ),
    "keys at http": (
        {"JWT_ISSUER": "http://adfs.example.com/", "JWKS_URL": "http://adfs.example.com/keys"},
        "JWKS_URL: invalid value 'http://adfs.example.com/keys'",
    ),
    "an issuer with a comma": (
        {"JWT_ISSUER": "urn:a,b", "JWKS_URL": "https://a.example/jwks"},
        "an iss or URL with a comma: ISSUERS in config/jwt.py",
    ),
    "more URLs than issuers": ({"JWKS_URL": "https://a/1,https://a/2"}, "JWKS_URL: invalid value"),
    "fewer URLs than issuers": (
        {"JWT_ISSUER": "https://a.example,https://b.example", "JWKS_URL": "https://a.example/1"},
        "JWKS_URL: invalid value",
    ),
    "http URL": ({"JWKS_URL": "http://gw.example/jwks"}, "JWKS_URL: invalid value 'http://gw.example/jwks'"),
    "no audience": ({"JWT_AUDIENCE": ""}, "JWT_AUDIENCE: not set"),
    "an audience of all hosts": ({"JWT_AUDIENCE": "https://*"}, "JWT_AUDIENCE: invalid value 'https://*'"),
    "an audience of part of a segment": ({"JWT_AUDIENCE": "https://gw.example/api*"}, "JWT_AUDIENCE: invalid value"),
    "any audience and another": ({"JWT_AUDIENCE": "*,orders"}, "alone, or values without it"),
    "a symmetric algorithm": ({"JWT_ALGORITHMS": "EdDSA,HS256"}, "JWT_ALGORITHMS: invalid value 'EdDSA,HS256'"),
    "the algorithm none": ({"JWT_ALGORITHMS": "none"}, "none has no signature"),
    "an unknown algorithm": ({"JWT_ALGORITHMS": "RS1"}, "expected some of EdDSA"),
    "no algorithm": ({"JWT_ALGORITHMS": ","}, "JWT_ALGORITHMS: invalid value"),
    "claims without values": ({"JWT_REQUIRED_CLAIMS": "account="}, "JWT_REQUIRED_CLAIMS: invalid value 'account='"),
    "a repeated claim": ({"JWT_REQUIRED_CLAIMS": "a=1,a=2"}, "each name once"),
    "the shared issuer without claims": ({"JWT_ISSUER": SHARED}, "JWT_REQUIRED_CLAIMS: not set"),
    "the shared issuer without a project": (
        {"JWT_ISSUER": SHARED, "JWT_REQUIRED_CLAIMS": "account=a"},
        "every customer of Zuplo",
    ),
    "scope claims without a name": ({"JWT_SCOPE_CLAIMS": ","}, "JWT_SCOPE_CLAIMS: invalid value ','"),
    "scope claims separated by a space": ({"JWT_SCOPE_CLAIMS": "scope scp"}, "names of claims, separated by commas"),
    "a scope claim with an empty part": ({"JWT_SCOPE_CLAIMS": "realm_access..roles"}, "JWT_SCOPE_CLAIMS: invalid"),
    "a development issuer": (
        {"JWT_ISSUER": "http://127.0.0.1:8001/__zuplo/development-issuer"},
        "expected another issuer in production: this is one of craft serve's",
    ),
    "the keys of a development issuer behind a tunnel": (
        {"JWKS_URL": "https://tunnel.example/__zuplo/development-issuer/.well-known/jwks.json"},
        "expected another issuer in production: this is one of craft serve's",
    ),
    "leeway too large": ({"JWT_LEEWAY": "301"}, "JWT_LEEWAY: invalid value '301'"),
    "leeway negative": ({"JWT_LEEWAY": "-1"}, "JWT_LEEWAY: invalid value '-1'"),
    "leeway not a number": ({"JWT_LEEWAY": "nan"}, "expected a number from 0 to 300"),
    "TTL of zero": ({"JWKS_TTL": "0"}, "JWKS_TTL: invalid value '0'"),
    "max stale too large": ({"JWKS_MAX_STALE": "604801"}, "JWKS_MAX_STALE: invalid value"),
    "timeout too long": ({"JWKS_TIMEOUT": "31"}, "expected a number from 0.1 to 30"),
    "cooldown of zero": ({"JWKS_COOLDOWN": "0"}, "JWKS_COOLDOWN: invalid value"),
    "too few bytes": ({"JWKS_MAX_BYTES": "1023"}, "JWKS_MAX_BYTES: invalid value"),
    "half a byte": ({"JWKS_MAX_BYTES": "2048.5"}, "expected a whole number"),
    "port out of range": ({"PORT": "65536"}, "PORT: invalid value"),
    "no processes": ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY: invalid value"),
    "no threads": ({"WEB_THREADS": "x"}, "WEB_THREADS: invalid value"),
    "a header with an underscore": ({"JWT_HEADER": "X_Token"}, "JWT_HEADER: invalid value"),
    "a header with a colon": ({"JWT_HEADER": "X-Token:"}, "JWT_HEADER: invalid value"),
    "a reserved header": ({"JWT_HEADER": "Content-Type"}, "JWT_HEADER: invalid value 'Content-Type'"),
    "a scheme of two words": ({"JWT_SCHEME": "Bearer Token"}, "JWT_SCHEME: invalid value"),
    "a realm with quotes": ({"JWT_REALM": 'a"b'}, "JWT_REALM: invalid value"),
    "a name with a line break": ({"APP_NAME": "a\nb"}, "APP_NAME: invalid value"),
    "an unknown environment": ({"APP_ENV": "prod"}, "expected local, testing or production"),
    "debugging in production": ({"APP_DEBUG": "True"}, "expected False in production"),
    "APP_DEBUG not a boolean": ({"APP_DEBUG": "maybe"}, "expected True or False"),
    "METRICS_ENABLED not a boolean": ({"METRICS_ENABLED": "maybe"}, "METRICS_ENABLED: invalid value"),
    "a metrics port without metrics": ({"METRICS_PORT": "9000"}, "expected METRICS_ENABLED=True too"),
    "the same port twice": ({"METRICS_PORT": "8000", "METRICS_ENABLED": "yes"}, "expected another port than PORT"),
    "metrics port out of range": ({"METRICS_PORT": "0", "METRICS_ENABLED": "yes"}, "METRICS_PORT: invalid value"),
    "a public URL with http": ({"PUBLIC_URL": "http://api.example.com"}, "PUBLIC_URL: invalid value"),
    "a public URL with a query": ({"PUBLIC_URL": "https://api.example.com/?a=b"}, "PUBLIC_URL: invalid value"),
    "a public URL with a quote": ({"PUBLIC_URL": 'https://api.example.com/"'}, "PUBLIC_URL: invalid value"),
    "a public host with a quote": ({"PUBLIC_URL": 'https://api"example.com'}, "PUBLIC_URL: invalid value"),
    "a short key": ({"APP_KEY": "hunter2"}, "APP_KEY: invalid value (not shown)"),
    "an unknown store": ({"JWKS_STORE": "memcached://hunter2@host"}, "JWKS_STORE: invalid value (not shown)"),
    "a store with an option": ({"JWKS_STORE": "redis://host?hunter2=1"}, "JWKS_STORE: invalid value (not shown)"),
    "a store with an invalid port": ({"JWKS_STORE": "redis://host:99999/0"}, "JWKS_STORE: invalid value (not shown)"),
    "a store without a host": ({"JWKS_STORE": "redis://:6379"}, "JWKS_STORE: invalid value (not shown)"),
    "a store without a key": (
        {"JWKS_STORE": "file"},
        "APP_KEY: not set; expected 32 random bytes or more (python craft key makes them)",
    ),
    "a store with a short key": (
        {"JWKS_STORE": "rediss://u:p@h:1/2", "APP_KEY": "hunter2"},
        "APP_KEY: invalid value (not shown)",
    ),
    "credentials in an issuer": (
        {"JWT_ISSUER": "https://me:hunter2@gw.example"},
        "JWT_ISSUER: invalid value (not shown)",
    ),
}


@pytest.mark.parametrize(("variables", "expected"), WRONG.values(), ids=WRONG)
def test_invalid_setting_is_reported_with_name_value_and_expectation(read, variables, expected):
    message = problems(read, **variables)

    assert expected in message and "; expected " in message
    assert "hunter2" not in message


def test_all_problems_are_reported_at_once(read):
    message = problems(read, JWT_LEEWAY="x", JWT_ALGORITHMS="HS256", JWT_AUDIENCE="", APP_DEBUG="1", PORT="0")

    assert "5 invalid settings" in message
    for name in ("JWT_LEEWAY", "JWT_ALGORITHMS", "JWT_AUDIENCE", "APP_DEBUG", "PORT"):
        assert name in message


def test_missing_and_invalid_settings_are_reported_together(read):
    with pytest.raises(BadSettings) as caught:
        read(JWT_ALGORITHMS="HS256", JWT_REQUIRED_CLAIMS="x=")

    for name in ("JWT_ISSUER: not set", "JWT_AUDIENCE: not set", "JWT_ALGORITHMS", "JWT_REQUIRED_CLAIMS"):
        assert name in str(caught.value)


def test_shared_issuer_is_accepted_with_account_and_project_required(read):
    assert read(JWT_ISSUER=SHARED, JWT_AUDIENCE="*", JWT_REQUIRED_CLAIMS="account=acme,project=orders").issuers


@pytest.mark.parametrize("environment", ["local", "testing", "production"])
def test_audience_is_required_while_an_issuer_is_set(read, environment):
    with pytest.raises(BadSettings, match="JWT_AUDIENCE: not set"):
        read(JWT_ISSUER="http://127.0.0.1:9/x", APP_ENV=environment)


@pytest.mark.parametrize("environment", ["local", "testing"])
def test_audience_is_no_problem_beside_a_missing_issuer_in_development(read, environment):
    with pytest.raises(BadSettings, match="JWT_ISSUER: not set") as caught:
        read(APP_ENV=environment)
    assert "JWT_AUDIENCE" not in str(caught.value)


@pytest.mark.parametrize(
    ("configured", "audience", "accepted"),
    [
        (["orders"], "orders", True),
        (["orders"], "Orders", False),
        (["orders"], "orders/", False),
        (["a", "orders"], "orders", True),
        (["https://gw.example/*"], "https://gw.example/", True),
        (["https://gw.example/*"], "https://gw.example/orders?x=1", True),
        (["https://gw.example/*"], "https://gw.example", False),
        (["https://gw.example/*"], "https://gw.example.evil/", False),
        (["https://gw.example/*"], "https://gw.example@evil/", False),
        (["https://gw.example/*"], "https://gw.example:8443/", False),
        (["https://gw.example/*"], "http://gw.example/", False),
        (["https://gw.example/*"], "https://evil/https://gw.example/", False),
        (["https://gw.example/api/*"], "https://gw.example/api/x", True),
        (["https://gw.example/api/*"], "https://gw.example/apix", False),
        (["https://gw.example:8443/*"], "https://gw.example:8443/x", True),
        (["*"], "anything", True),
    ],
)
def test_audience_is_accepted_if_it_is_configured(configured, audience, accepted):
    assert Audiences.of(configured).accept([audience]) is accepted
    assert Audiences.of(configured).accept(["other", audience]) is accepted


@pytest.mark.parametrize(
    "value",
    ["https://*", "https://*/", "https://*/x", "*/x", "/*", "x*", "https://gw.example/a*", "https://a/*/b"]
    + ["https://gw.example*", "https:///*", "https://u@gw.example/*", "https://gw.example/?x/*", "orders/*"],
)
def test_audience_prefix_without_a_whole_host_is_invalid(value):
    with pytest.raises(BadAudience) as caught:
        Audiences.of([value])
    assert str(caught.value) == "a prefix with a whole host and whole parts of a path, as in https://host/path/*"


def test_audience_wildcard_must_be_the_only_value():
    assert Audiences.of(["*"]) == Audiences(frozenset(), (), anything=True)
    with pytest.raises(BadAudience) as caught:
        Audiences.of(["*", "orders"])
    assert str(caught.value) == "'*' alone, or values without it"


def test_argument_of_the_server_is_an_error_that_names_the_setting():
    ended = forked_python(PROJECT, "-m", "zuplo_origin.server", "--port", "9000", JWT_ISSUER="https://gw.example")

    assert (ended.returncode, ended.stdout) == (2, "") and ended.stderr.count("\n") == 1
    assert "unknown argument '--port'; set PORT" in ended.stderr


@pytest.mark.parametrize("command", [["-c", "import wsgi"], ["-m", "zuplo_origin.server"]])
def test_server_with_invalid_settings_exits_with_the_message_only(command):
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=clean_environment(JWT_LEEWAY="x", APP_ENV="local"),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode != 0 and ended.stdout == ""
    assert "JWT_ISSUER: not set" in ended.stderr and "JWT_LEEWAY: invalid value 'x'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("JWT_ISUER", "JWT_ISUER: unknown setting; did you mean JWT_ISSUER?"),
        ("JWKS_TLL", "JWKS_TLL: unknown setting; did you mean JWKS_TTL?"),
        ("WEB_XYZZY", "WEB_XYZZY: unknown setting"),
        ("TLS_CERTIFICATE", "TLS_CERTIFICATE: unknown setting; did you mean TLS_CERT?"),
    ],
)
def test_unknown_setting_is_reported_with_the_nearest_name(read, name, message):
    assert message in problems(read, **{name: "x"})


@pytest.mark.parametrize(
    "variables",
    [
        {"WEB_SERVICE_HOST": "10.0.0.1", "WEB_SERVICE_PORT": "80", "WEB_SERVICE_PORT_HTTP": "80"},
        {"WEB_PORT": "tcp://10.0.0.1:80", "WEB_PORT_80_TCP": "tcp://10.0.0.1:80", "WEB_PORT_80_TCP_ADDR": "10.0.0.1"},
        {"JWT": "x", "MY_JWT_ISSUER": "x"},
    ],
)
def test_variables_of_kubernetes_and_of_others_are_not_settings(read, variables):
    assert read(**GOOD | variables).port == 8000
