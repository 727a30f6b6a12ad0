"""The CA certificates in the environment: which fetches trust, and problems at start."""

import json
import os
import ssl
import subprocess

import pytest

from package_tests.support.certificates import Authority
from package_tests.support.issuer import Issuer
from zuplo_origin.jwks.ca_bundle import VARIABLES
from zuplo_origin.jwks.failures import FetchFailed
from zuplo_origin.jwks.fetch import Source
from zuplo_origin.settings import BadSettings, read_settings


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def url(authority):
    """Yield the URL of a key set on loopback with https, whose certificate the authority has issued."""
    issuer = Issuer()
    certificate, key = authority.issue("issuer")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    issuer.server.socket = context.wrap_socket(issuer.server.socket, server_side=True)
    yield f"https://localhost:{issuer.server.server_port}/jwks"
    issuer.close()


def fetch(url):
    return json.loads(Source("https://localhost", url, 5, 65536).fetch().body)


def hashed(authority, folder):
    """Return ``folder`` with the authority's certificate under its hash."""
    folder.mkdir()
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(authority.path)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(authority.path.read_bytes())
    return folder


def test_fetch_rejects_a_certificate_of_an_unknown_authority(url):
    with pytest.raises(FetchFailed):
        fetch(url)


@pytest.mark.parametrize("name", VARIABLES)
def test_fetch_trusts_the_ca_bundle_of_each_variable(url, authority, name, monkeypatch):
    monkeypatch.setenv(name, str(authority.path))

    assert fetch(url)["keys"]


def test_fetch_trusts_a_folder_of_certificates(url, authority, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(hashed(authority, tmp_path / "folder")))

    assert fetch(url)["keys"]


def test_first_variable_that_is_set_is_used(url, authority, tmp_path, monkeypatch):
    other = Authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    monkeypatch.setenv("CURL_CA_BUNDLE", "")
    assert fetch(url)["keys"]

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.path))
    with pytest.raises(FetchFailed):
        fetch(url)


class NoConfig:
    def get(self, path, default=None):
        return default


def problem(monkeypatch, name, path):
    monkeypatch.setenv("JWT_ISSUER", "https://gw.example")
    monkeypatch.setenv("JWT_AUDIENCE", "orders")
    monkeypatch.setenv(name, str(path))
    try:
        read_settings(NoConfig())
    except BadSettings as bad:
        return str(bad).partition("\n  ")[2]
    return None


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"", "it contains no certificate in PEM"),
        (b"not PEM", "it contains no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "its certificates cannot be read"),
        ("key", "it contains no certificate in PEM"),
        ("folder", "the folder has no certificates under their hashes: run openssl rehash"),
    ],
)
def test_unusable_ca_bundle_is_a_problem_at_start(name, content, why, authority, tmp_path, monkeypatch):
    path = tmp_path / "bundle"
    if content == "folder":
        path.mkdir()
        (path / "ca.pem").write_bytes(authority.path.read_bytes())
    elif content == "key":
        path.write_bytes(authority.issue("key")[1].read_bytes())
    elif content is not None:
        path.write_bytes(content)

    expected = f"the path of a PEM file with CA certificates, or of a folder of them ({why})"
    assert problem(monkeypatch, name, path) == f"{name}: invalid value '{path}'; expected {expected}"


def test_ca_bundle_that_cannot_be_a_path_is_a_problem_at_start(monkeypatch):
    assert "File name too long" in problem(monkeypatch, "SSL_CERT_FILE", "x" * 5000)


def test_usable_ca_bundle_is_no_problem(authority, tmp_path, monkeypatch):
    assert problem(monkeypatch, "SSL_CERT_FILE", authority.path) is None
    assert problem(monkeypatch, "REQUESTS_CA_BUNDLE", hashed(authority, tmp_path / "folder")) is None
    assert problem(monkeypatch, "REQUESTS_CA_BUNDLE", os.path.relpath(authority.path)) is None
