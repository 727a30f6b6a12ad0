"""A real OpenID provider, `oidc-provider` of npm, on a loopback port."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import requests

from .npm import installed

FOLDER = Path(__file__).parent / "oidc"


class OidcProvider:
    """The provider, in a process that ends with the `with` block. `issuer` is its issuer."""

    def __enter__(self) -> "OidcProvider":
        folder = installed(FOLDER)
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
