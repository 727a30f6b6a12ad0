"""The Internet's identity providers on loopback: their hosts behind a proxy, with certificates of a CA of the tests."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .certificates import Authority


class Internet:
    """Serves `documents` by their https URLs, to clients that use its proxy and trust its CA.

    A document is a JSON value or bytes; `types` has the content types that differ from JSON, `requests` what was asked
    for, with its headers.
    """

    def __init__(self, folder: Path, urls: list[str]) -> None:
        self.documents: dict[str, Any] = {}
        self.types: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        authority = Authority(folder, "internet")
        hosts = sorted({urlsplit(url).hostname or "" for url in urls})
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.issue("provider", hosts=hosts))
        internet = self

        class Proxy(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                self.send_response(200)
                self.end_headers()
                host = self.path.removesuffix(":443")

                class Provider(_Provider):
                    def do_GET(self) -> None:
                        internet._respond(f"https://{host}{self.path}", self)

                connection = internet._context.wrap_socket(self.connection, server_side=True)
                Provider(connection, self.client_address, self.server)
                connection.close()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Ignore clients that close their connections."""

        self._server = Server(("127.0.0.1", 0), Proxy)
        self._server.daemon_threads = True
        threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True).start()
        proxy = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(authority.path)}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _respond(self, url: str, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append((url, dict(handler.headers)))
        found = self.documents.get(url)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        kind = self.types.get(url, "application/json; charset=utf-8")
        accepted = handler.headers.get("Accept", "*/*")
        if kind == "application/jwk-set+json" and kind not in accepted and "*/*;" not in accepted:
            found = None  # as Kubernetes does, but with status 406
        handler.send_response(404 if found is None else 200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


class _Provider(BaseHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass
