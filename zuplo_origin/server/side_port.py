"""A port beside the main one, for metrics and health checks: plain HTTP, a few readers at a time."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

READERS, SECONDS = 16, 5.0
"""Readers that are served at once, and the time that each has. For one more, the slowest one is disconnected."""

Page = Callable[[], tuple[int, bytes, str]]
"""Returns the status, the body and its content type."""


def serve(host: str, port: int, pages: Mapping[str, Page]) -> None:
    """Serve ``pages``, by path, in a thread. Raises ``OSError`` if it cannot listen there."""
    server = _Server(host, port, pages)
    threading.Thread(target=server.serve_forever, name=f"port-{port}", daemon=True).start()


@dataclass
class _Reader:
    address: str
    has_sent_request: bool = False


class _Server(ThreadingTCPServer):
    """``ThreadingTCPServer`` with limits; ``http.server`` looks up the host's name in the DNS as it starts."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024  # of 5, as usual, an attempt to connect would be lost, and repeated a second later

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self.open: dict[socket.socket, _Reader] = {}  # in the order in which they have connected
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if len(self.open) >= READERS:
            self._disconnect_slowest()
        self.open[request] = _Reader(client_address[0])
        return True

    def _disconnect_slowest(self) -> None:
        """Disconnect the oldest reader of the address that has most; first those that have not sent a request."""
        readers = list(self.open.items())
        by_address = Counter(reader.address for _, reader in readers)
        slowest, _ = min(readers, key=lambda each: (each[1].has_sent_request, -by_address[each[1].address]))
        self.open.pop(slowest, None)
        _shut_down(slowest)

    def finish_request(self, request: Any, client_address: Any) -> None:
        timer = threading.Timer(SECONDS, _shut_down, [request])  # a socket's own timeout starts again with each byte
        timer.daemon = True
        timer.start()
        try:
            super().finish_request(request, client_address)
        finally:
            timer.cancel()

    def shutdown_request(self, request: Any) -> None:
        self.open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a reader has closed its connection."""


def _shut_down(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "origin", ""
    server: _Server

    def do_GET(self) -> None:
        if (reader := self.server.open.get(self.connection)) is not None:
            reader.has_sent_request = True
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
