"""An issuer that serves its keys over HTTP on a loopback port."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .signing import ALGORITHMS, Key

Behaviour = Callable[[BaseHTTPRequestHandler], None]
PATH = "/__zuplo/issuer"


class Issuer:
    """Publishes `keys`, by default one for each algorithm. `behave`, if set, handles the requests instead."""

    def __init__(self, keys: list[Key] | None = None) -> None:
        self.keys = [Key(name, f"k-{name}") for name in ALGORITHMS] if keys is None else keys
        self.document: Any = None
        self.headers: dict[str, str] = {}
        self.behave: Behaviour | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                issuer.requests.append((self.path, dict(self.headers)))
                if issuer.behave is not None:
                    issuer.behave(self)
                else:
                    issuer.respond(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Ignore clients that close their connections, as some tests do."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.name = self.origin + PATH
        self.jwks_url = f"{self.name}/.well-known/jwks.json"
        threading.Thread(target=lambda: self.server.serve_forever(0.02), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def key_set(self) -> Any:
        return {"keys": [key.jwk() for key in self.keys]} if self.document is None else self.document

    def respond(self, handler: BaseHTTPRequestHandler, status: int = 200) -> None:
        body: Any = self.key_set()
        if handler.path.endswith("/openid-configuration"):
            body = {"issuer": self.name, "jwks_uri": self.jwks_url}
        send(handler, status, body if isinstance(body, bytes) else json.dumps(body).encode(), self.headers)

    def key(self, algorithm: str) -> Key:
        return next(key for key in self.keys if key.algorithm == algorithm)

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return claims of an accepted token. `claims` replaces some of them; `None` removes one."""
        now = int(time.time())
        usual = {"iss": self.name, "sub": "user-1", "aud": "https://api.test/orders", "iat": now, "exp": now + 300}
        return {name: value for name, value in (usual | claims).items() if value is not None}

    def token(self, algorithm: str = "EdDSA", header: dict[str, Any] | None = None, **claims: Any) -> str:
        return self.key(algorithm).token(self.claims(**claims), **(header or {}))


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in (
        {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
    ).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
