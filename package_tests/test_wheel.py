"""The wheel of `zuplo_origin`: what is in it, and that it works without this repository."""

import json
import re
import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import zuplo_origin
from package_tests.support.issuer import Issuer
from package_tests.support.servers import ROOT, clean_environment
from package_tests.support.signing import Key
from package_tests.support.wheels import build_wheel, environment, install
from zuplo_origin.dev import template

VERIFY = """
import json, sys, time

from zuplo_origin.jwks.fetch import Source
from zuplo_origin.jwks.keys import read_key_set
from zuplo_origin.jwt.claims import Audiences
from zuplo_origin.jwt.reasons import Rejected
from zuplo_origin.jwt.verifier import Issuer, TokenVerifier

name, url, *tokens = sys.argv[1:]


class Keys:
    def __init__(self):
        source = Source(name, url, timeout=5, max_bytes=262144)
        self._keys = read_key_set(source.fetch().body, frozenset({"EdDSA"}))

    def __getattr__(self, attribute):
        return getattr(self._keys, attribute)

    def generation(self):
        return 1


issuer = Issuer(name, frozenset({"EdDSA"}), Audiences.of(["https://api.test/*"]), {}, 30, Keys())
verifier = TokenVerifier([issuer], cache_size=0)
results = []
for token in tokens:
    try:
        results.append(verifier.verify(token)["sub"])
    except Rejected as rejected:
        results.append(rejected.reason.value)
import zuplo_origin
print(json.dumps({"results": results, "file": zuplo_origin.__file__, "masonite": "masonite" in sys.modules}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel into an environment of its own, which sees this one's packages; return its Python."""
    folder = tmp_path_factory.mktemp("installed")
    python = environment(folder)
    install(python, folder, "--no-deps", str(wheel))
    return python


def test_wheel_contains_the_package_and_the_template_alone(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "zuplo_origin").rglob("*") if path.is_file()}
    copied = {f"zuplo_origin/dev/template/{name}" for name in [*template.names(ROOT), template.LOCKED]}

    assert names == {name for name in package if "__pycache__" not in name} | copied
    assert {"zuplo_origin/dev/console_page/index.html", "zuplo_origin/dev/application/README.md"} <= names


def test_wheel_has_the_version_and_the_dependencies(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [each for each in archive.namelist() if each.endswith("/METADATA")]
    metadata = Parser().parsestr(archive.read(name).decode())
    lines = (ROOT / "requirements.in").read_text().splitlines()
    direct = [re.match(r"[\w.-]+", line)[0] for line in lines if line and not line.startswith("#")]

    assert metadata["Version"] == zuplo_origin.__version__
    assert [re.match(r"[\w.-]+", each)[0] for each in metadata.get_all("Requires-Dist")] == direct
    assert metadata["Requires-Python"] == ">=3.10"


@pytest.mark.parametrize("lock", ["requirements-dev.txt", "requirements-otel.txt", "requirements-fuzz.txt"])
def test_versions_that_are_tested_are_those_that_are_deployed(lock):
    def pins(name):
        return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))

    deployed, tested = pins("requirements.txt"), pins(lock)
    assert len(deployed) > 30 and deployed.items() <= tested.items()


def test_version_is_the_changelogs_newest():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]

    assert newest == zuplo_origin.__version__


def test_version_stands_in_one_file():
    version = re.escape(zuplo_origin.__version__)
    files = [*ROOT.glob("*.toml"), ROOT / "craft", *(ROOT / "zuplo_origin").rglob("*.py")]

    assert [str(file.relative_to(ROOT)) for file in files if re.search(rf"\b{version}\b", file.read_text())] == [
        "zuplo_origin/__init__.py"
    ]


def test_wheel_verifies_tokens_without_the_repository_and_without_masonite(installed, tmp_path):
    issuer = Issuer()
    try:
        forged = Key("EdDSA", issuer.key("EdDSA").kid).token(issuer.claims())
        ended = subprocess.run(
            [installed, "-I", "-c", VERIFY, issuer.name, issuer.jwks_url, issuer.token(sub="user-7"), forged],
            cwd=tmp_path,
            env={name: value for name, value in clean_environment().items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
    finally:
        issuer.close()

    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["results"] == ["user-7", "bad_signature"] and result["masonite"] is False
    assert Path(result["file"]).is_relative_to(installed.parent.parent)
    assert not Path(result["file"]).is_relative_to(ROOT)
