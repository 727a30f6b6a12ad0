"""``craft serve``."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from werkzeug.serving import WSGIRequestHandler, run_simple

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.issuer import MARKER, BadKeyFile, Development, IssuerServer
from zuplo_origin.settings import SETTINGS

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


class ServeCommand(PlainCommand):
    """
    Run the application for development; without JWT_ISSUER, with an issuer of its own

    serve
        {--p|port=8000 : The port to listen on}
        {--b|host=127.0.0.1 : The address to listen on}
        {--d|dont-reload : Do not start anew where a file changes}
    """

    def handle(self) -> int:
        host, port = self.option("host"), self.option("port")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return self._fail("--port is a number from 1 to 65535")
        if not self.app.has("settings"):
            if os.environ.get("APP_ENV") != "local" or os.environ.get("JWT_ISSUER"):
                return self._fail(self.app.make("settings.problems"))
            return self._develop(host, int(port))
        if MARKER in os.environ and os.environ.get("APP_ENV") == "local":
            _end_with_supervisor(int(os.environ[MARKER]))
            self.app.bind("development.listens", (host, int(port)))
            self._keep_to_loopback()
            self._open_console()
        return self._serve(host, int(port))

    def _fail(self, message: str) -> int:
        self.line_error(message)
        return 1

    def _develop(self, host: str, port: int) -> int:
        """Run the issuer here, and the server in a process of its own that sees it as any other issuer."""
        if host not in LOOPBACK_HOSTS:
            return self._fail(f"development stays on this machine: --host is one of {', '.join(LOOPBACK_HOSTS)}")
        if not _is_free(host, port):
            return self._fail(f"{host}:{port} is taken, or not there: choose another one with --port")
        storage = self.app.get_storage_path()
        try:
            algorithms = (self.app.make("config").get("jwt.algorithms") or SETTINGS["JWT_ALGORITHMS"].default).split(
                ","
            )
            published = Development.keys(storage).public([name.strip() for name in algorithms])
            issuer = IssuerServer(published, port=port + 1 if port < 65535 else 0)
            development = Development(_url(host, port), issuer.issuer, os.getpid())
            development.announce(storage)
        except (BadKeyFile, OSError) as error:
            return self._fail(f"serve: {error}")
        try:
            return _supervise(
                {
                    "APP_ENV": "local",
                    "JWT_ISSUER": development.issuer,
                    "JWT_AUDIENCE": f"{development.address}/*",
                    "JWKS_URL": "",
                }
            )
        finally:
            development.withdraw(storage)
            issuer.close()

    def _keep_to_loopback(self) -> None:
        from zuplo_origin.dev.console import LoopbackOnlyMiddleware

        self.app.make("middleware").add([LoopbackOnlyMiddleware])

    def _open_console(self) -> None:
        from zuplo_origin.dev.console import ROUTES, SameOriginMiddleware

        self.app.make("middleware").add({"console": [SameOriginMiddleware]})
        self.app.make("router").add(*ROUTES)

    def _serve(self, host: str, port: int) -> int:
        reload = not self.option("dont-reload")
        serving = not reload or os.environ.get("WERKZEUG_RUN_MAIN") == "true"
        if serving:
            self.app.make("jwks").start()
            try:
                self._serve_metrics()
            except OSError:
                return self._fail(f"METRICS_PORT {self.app.make('settings').metrics_port} is taken.")
        if not serving or not reload:
            self._tell(host, port)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        QuietHandler.timeout = self.app.make("settings").body_seconds
        run_simple(host, port, self.app, threaded=True, use_reloader=reload, request_handler=QuietHandler)
        return 0

    def _serve_metrics(self) -> None:
        port = self.app.make("settings").metrics_port
        if port is not None:
            from zuplo_origin.observability import metrics
            from zuplo_origin.server import side_port

            pages = {metrics.PATH: metrics.page(self.app.make("metrics").registry)}
            side_port.serve(self.app.make("settings").host, port, pages)

    def _tell(self, host: str, port: int) -> None:
        url = _url(host, port)
        self.line(f"Serving {url} for development. Ctrl+C stops it.")
        if MARKER not in os.environ:
            return
        settings = self.app.make("settings")
        self.line(f"No JWT_ISSUER is set: tokens of an issuer of its own are believed, {settings.issuers[0].name}")
        self.line(f"Its console: {url}/")
        self.line("Try it:\n")
        self.line(f"    curl -i {url}/protected")
        self.line(f'    curl -i -H "Authorization: Bearer $(python craft jwt:token)" {url}/protected\n')


class QuietHandler(WSGIRequestHandler):
    """Says nothing: the application has a log of its own."""

    server_version, sys_version = "development", ""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Nothing: the path and the query, which stand in it as they were sent, may hold a token."""


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def _supervise(environment: Mapping[str, str]) -> int:
    """Run this same command in a process of its own, with ``environment`` on top, and end with it."""
    reading, writing = os.pipe()  # the child sees its end where this process is gone, however it went
    environment = {**os.environ, **environment, MARKER: str(reading)}
    with subprocess.Popen([sys.executable, *sys.argv], env=environment, pass_fds=[reading]) as child:
        os.close(reading)
        signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
        while True:
            try:
                code = child.wait()
                break
            except KeyboardInterrupt:
                continue  # it went to the child too, which ends by itself
        os.close(writing)
    return code if code >= 0 else 0


def _end_with_supervisor(reading: int) -> None:
    def watch() -> None:
        os.read(reading, 1)
        os._exit(0)

    os.set_inheritable(reading, True)
    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
