"""A real OpenID provider, `oidc-provider` of npm, on a loopback port."""

import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import requests

FOLDER = Path(__file__).parent / "oidc"
FILES = ("package.json", "package-lock.json", "provider.mjs")


def installed() -> Path:
    """Install the locked packages once for each lock file, in the user's cache, and return the folder."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if "NPM_REQUIRED" in os.environ:
            raise AssertionError("node or npm is not installed, but NPM_REQUIRED is set")
        pytest.skip("node or npm is not installed: apt-get install nodejs npm")
    content = b"".join((FOLDER / name).read_bytes() for name in FILES)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zuplo-origin-tests"
    folder = cache / f"oidc-{hashlib.sha256(content).hexdigest()[:16]}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        for name in FILES:
            shutil.copy(FOLDER / name, made)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        ended = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=300)
        if ended.returncode != 0:
            if "NPM_REQUIRED" in os.environ:
                raise AssertionError(f"npm ci failed: {ended.stderr}")
            pytest.skip(f"npm ci failed: {ended.stderr[-300:]}")
        if not folder.exists():  # another process may have installed it meanwhile
            Path(made).rename(folder)
            Path(made).mkdir()
    return folder


class OidcProvider:
    """The provider, in a process that ends with the `with` block. `issuer` is its issuer."""

    def __enter__(self) -> "OidcProvider":
        folder = installed()
        self._secret = secrets.token_urlsafe(32)
        self._process = subprocess.Popen(  # its notices on standard error are dropped
            [shutil.which("node") or "node", "provider.mjs"],
            cwd=folder,
            env=os.environ | {"CLIENT_SECRET": self._secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.issuer = self._printed("issuer ")
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def rotate(self) -> str:
        """Replace the signing key, and return the `kid` of the new one."""
        assert self._process.stdin is not None
        self._process.stdin.write("rotate\n")
        self._process.stdin.flush()
        return self._printed("kid ")

    def token(self, audience: str, scope: str = "read:orders") -> str:
        """Return an access token: client credentials, with the resource `audience` (RFC 8707)."""
        fields = {"grant_type": "client_credentials", "resource": audience, "scope": scope}
        with requests.Session() as session:
            session.trust_env = False  # no proxy
            response = session.post(f"{self.issuer}/token", fields, auth=("gateway", self._secret), timeout=30)
        token: str = response.json()["access_token"]
        return token

    def _printed(self, prefix: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
        raise AssertionError("the provider ended")
