"""The development issuer's HTTP server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/__zuplo/issuer"
"""Where a Zuplo gateway publishes what it issues with."""


class IssuerServer:
    """Publishes a key set on a loopback port, under the paths that a Zuplo gateway uses.

    ``port`` is taken where it is free, another one where it is not. It serves from a thread of its own.
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
                """Say nothing: whose requests these are is seen in the application's own lines."""

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
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
