"""A port beside the main one, for metrics and health checks: plain HTTP, a few readers at a time."""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

READERS, SECONDS = 16, 5.0
"""Readers that are served at once, and the time that each has: others are not served at all."""

Page = Callable[[], tuple[int, bytes, str]]
"""Returns the status, the body and its content type."""


def serve(host: str, port: int, pages: Mapping[str, Page]) -> None:
    """Serve ``pages``, by path, in a thread. Processes that are forked later hold nothing of it.

    Raises ``OSError`` when the port is taken.
    """

    class Handler(_Handler):
        pages_by_path = pages

    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    server = Server((host, port), Handler)
    os.register_at_fork(after_in_child=server.forget)
    threading.Thread(target=server.serve_forever, name=f"port-{port}", daemon=True).start()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= READERS:
            self.shutdown_request(request)
            return
        self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(SECONDS, _shut_down, [request])  # a time-out of the socket's begins anew with each byte
        end.daemon = True
        end.start()
        try:
            super().finish_request(request, client_address)
        finally:
            end.cancel()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.discard(request)

    def forget(self) -> None:
        """Close the copies that a forked process has of the supervisor's sockets."""
        for each in (self.socket, *self._open):
            with suppress(OSError):
                os.close(each.detach())  # close() would wait for the files that a handler made of it

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a reader has hung up."""


def _shut_down(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "origin", ""
    pages_by_path: Mapping[str, Page]

    def do_GET(self) -> None:
        page = self.pages_by_path.get(self.path)
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
