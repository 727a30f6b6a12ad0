"""A port beside the main one, for metrics and health checks: plain HTTP, a few readers at a time."""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

READERS, SECONDS = 16, 5.0
"""Readers that are served at once, and the time that each has. Further connections are closed at once."""

Page = Callable[[], tuple[int, bytes, str]]
"""Returns the status, the body and its content type."""


def serve(host: str, port: int, pages: Mapping[str, Page]) -> None:
    """Serve ``pages``, by path, in a thread. Raises ``OSError`` if it cannot listen there."""
    server = _Server(host, port, pages)
    threading.Thread(target=server.serve_forever, name=f"port-{port}", daemon=True).start()


class _Server(ThreadingTCPServer):
    """``ThreadingTCPServer`` with limits; ``http.server`` looks up the host's name in the DNS as it starts."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self._open: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if len(self._open) >= READERS:
            return False
        self._open.add(request)
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        timer = threading.Timer(SECONDS, _shut_down, [request])  # a socket's own timeout starts again with each byte
        timer.daemon = True
        timer.start()
        try:
            super().finish_request(request, client_address)
        finally:
            timer.cancel()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a reader has closed its connection."""


def _shut_down(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "origin", ""
    server: _Server

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)
        status, body, content_type = page() if page else (404, b"", "text/plain")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: these pages are read every few seconds."""
