"""The development issuer: its keys, its HTTP server, and the file with its address."""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jose import jws
from jose.backends import ECKey, RSAKey

from zuplo_origin.encoding import encode_base64url
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.development import KEY_PREFIX, PATH


def write_private(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, with mode 0600. Create its folder with mode 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_PUBLIC = ("kty", "crv", "n", "e", "x", "y", "kid", "use", "alg")
_THUMBPRINT = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


class BadKeyFile(Exception):
    """The key file cannot be parsed."""


class IssuerKeys:
    """Private keys as JWKs: one for EdDSA, one for each ES algorithm, and one for all RS and PS algorithms.

    Each ``kid`` has the mark of a development key, those of an older file too.
    """

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        self._keys = [{**key, "kid": KEY_PREFIX + key["kid"].removeprefix(KEY_PREFIX)} for key in keys]

    @classmethod
    def load(cls, path: Path) -> "IssuerKeys":
        """Return the keys in ``path``. Create the file if it does not exist.

        Raises:
            BadKeyFile: the file does not contain keys.
            OSError: the file cannot be read or written.
        """
        if not path.exists():
            write_private(path, json.dumps({"keys": _generate()}))
        try:
            keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
            if not all(isinstance(key["kid"], str) for key in keys):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise BadKeyFile(f"{path} does not contain keys; delete it to create new ones") from None
        return cls(keys)

    @classmethod
    def generated(cls) -> "IssuerKeys":
        """Return new keys, without writing them to a file."""
        return cls(_generate())

    def public(self, algorithms: Collection[str]) -> dict[str, Any]:
        """Return a key set (RFC 7517, section 5) with the public keys for ``algorithms``."""
        wanted = [self._key_for(algorithm) for algorithm in algorithms if algorithm in ALGORITHMS]
        published = [key for key in self._keys if key in wanted]
        return {"keys": [{name: key[name] for name in _PUBLIC if name in key} for key in published]}

    def kid(self, algorithm: str) -> str:
        """Return the id of the key for ``algorithm``, one of ``ALGORITHMS``."""
        return str(self._key_for(algorithm)["kid"])

    def sign(self, claims: Mapping[str, Any], algorithm: str, header: Mapping[str, Any] | None = None) -> str:
        """Return a token with ``claims``, signed with ``algorithm``, one of ``ALGORITHMS``. ``header`` adds to its own.

        ``jwt.encode`` would reject claims of the wrong type, which a test of the verifier needs.
        """
        key = self._key_for(algorithm)
        token: str = jws.sign(dict(claims), key, headers={"kid": key["kid"], **(header or {})}, algorithm=algorithm)
        return token

    def _key_for(self, algorithm: str) -> dict[str, Any]:
        wanted = ALGORITHMS[algorithm]
        return next(key for key in self._keys if key["kty"] == wanted.kty and wanted.crv in (None, key.get("crv")))


def _generate() -> list[dict[str, Any]]:
    ed = ed25519.Ed25519PrivateKey.generate()
    keys: list[dict[str, Any]] = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "x": encode_base64url(ed.public_key().public_bytes_raw()),
            "d": encode_base64url(ed.private_bytes_raw()),
        }
    ]
    for algorithm, curve in _CURVES.items():
        keys.append(ECKey(ec.generate_private_key(curve), algorithm).to_dict())
    rsa_key = RSAKey(rsa.generate_private_key(65537, 2048), "RS256").to_dict()
    del rsa_key["alg"]  # the key is for RS and PS algorithms
    keys.append(rsa_key)
    return [{**key, "use": "sig", "kid": _thumbprint(key)} for key in keys]


def _thumbprint(key: Mapping[str, Any]) -> str:
    """Return the thumbprint of a key (RFC 7638, section 3)."""
    members = {name: key[name] for name in _THUMBPRINT[key["kty"]]}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return encode_base64url(digest)


class IssuerServer:
    """A server on loopback, in a thread, that publishes a key set as a Zuplo gateway does, under ``PATH``.

    It listens on ``port``, or on any free port if that one is taken or 0.
    """

    def __init__(self, public_keys: dict[str, Any], port: int = 0) -> None:
        documents: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "issuer", ""

            def do_GET(self) -> None:
                body = documents.get(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing: the application logs each fetch."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError:
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}{PATH}"
        jwks = f"{PATH}/.well-known/jwks.json"
        documents[jwks] = json.dumps(public_keys).encode()
        documents[f"{PATH}/.well-known/openid-configuration"] = json.dumps(
            {"issuer": self.issuer, "jwks_uri": self.issuer.removesuffix(PATH) + jwks}
        ).encode()
        threading.Thread(target=self._server.serve_forever, name="issuer", daemon=True).start()

    def close(self) -> None:
        """Stop the server, and close its socket."""
        self._server.shutdown()
        self._server.server_close()


MARKER = "DEVELOPMENT_SERVER"
"""The environment variable that ``craft serve`` sets in its child process: a file descriptor of a pipe.

The process accepts tokens of the development issuer, and exits when the pipe closes.
"""


class NotRunning(Exception):
    """No development server of this project is running."""


@dataclass(frozen=True)
class Development:
    """A running development server: its URL, the ``iss`` of the tokens that it accepts, and its process id."""

    address: str
    issuer: str
    process: int

    @staticmethod
    def folder(storage: str) -> Path:
        """Return the folder of the keys and of the files of running servers. Git ignores it."""
        return Path(storage) / "development"

    @classmethod
    def keys(cls, storage: str) -> IssuerKeys:
        return IssuerKeys.load(cls.folder(storage) / "keys.json")

    def announce(self, storage: str) -> None:
        """Write the server's file."""
        write_private(self._file(storage, self.process), json.dumps(asdict(self)))

    def withdraw(self, storage: str) -> None:
        """Delete the server's file."""
        self._file(storage, self.process).unlink(missing_ok=True)

    @classmethod
    def running(cls, storage: str) -> "Development":
        """Return the running server that was started last. Raise ``NotRunning`` if there is none."""
        files = cls.folder(storage).glob("server-*.json")
        for file in sorted(files, key=lambda found: found.stat().st_mtime, reverse=True):
            try:
                found = cls(**json.loads(file.read_text(encoding="utf-8")))
                os.kill(found.process, 0)  # raises ProcessLookupError if the server was killed and left its file
            except (OSError, ValueError, TypeError):
                continue
            return found
        raise NotRunning("no development server is running; start one with `python craft serve`")

    @classmethod
    def _file(cls, storage: str, process: int) -> Path:
        return cls.folder(storage) / f"server-{process}.json"
