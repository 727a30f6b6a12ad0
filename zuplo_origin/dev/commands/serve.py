"""``craft serve``."""

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from werkzeug.serving import WSGIRequestHandler, run_simple

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.commands.style import Painter, has_colours, is_styled
from zuplo_origin.craft import ENV_FILE_SEEN, INHERITED, RESTARTED, env_file_digest, restart_after_change
from zuplo_origin.dev import terminal
from zuplo_origin.dev.issuer import MARKER, BadKeyFile, Development, IssuerServer
from zuplo_origin.faults import problems_with_server
from zuplo_origin.http.errors import ERROR_PAGE
from zuplo_origin.http.injection import check_parameters
from zuplo_origin.http.routing import RouteError
from zuplo_origin.observability.logs import warn_of_open_routes
from zuplo_origin.settings import raw_value

log = logging.getLogger("zuplo_origin")

CONSOLE_SECRET = "DEVELOPMENT_CONSOLE_SECRET"  # noqa: S105  # the name of a variable
"""The environment variable with the console's secret, for the child process: it survives reloads."""
INVALID_SETTINGS, ENV_FILE_CHANGED = 5, 4
"""Exit statuses of the processes that serve, for the first one: ``.env`` may change JWT_ISSUER, so it starts again."""
POLL_SECONDS = 0.5
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


class ServeCommand(PlainCommand):
    """
    Run a development server, with a development issuer unless JWT_ISSUER is set

    serve
        {--p|port=8000 : The port to listen on}
        {--b|host=127.0.0.1 : The address to listen on}
        {--d|dont-reload : Do not restart when a file changes}
    """

    def handle(self) -> int:
        root, is_first = Path(self.app.base_path), ENV_FILE_SEEN not in INHERITED
        try:
            status = self._handle()
        except SystemExit as ended:  # of Werkzeug's reloader
            status = ended.code if isinstance(ended.code, int) else 1
        if not is_first:
            return status
        if status == INVALID_SETTINGS and RESTARTED in os.environ:
            start_again_when_env_file_changes(root)
        if status == ENV_FILE_CHANGED:
            _start_again()
        return 1 if status == INVALID_SETTINGS else status

    def _handle(self) -> int:
        host, port = self.option("host"), self.option("port")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return self.fail(f"--port: invalid value {port!r}; expected a number from 1 to 65535")
        if problem := next(problems_with_server(self.app), None):
            return self._fail_to_start(problem)
        if not self.app.has("settings"):
            if os.environ.get("APP_ENV") != "local" or os.environ.get("JWT_ISSUER"):
                self.line_error(self.app.make("settings.problems"))
                return INVALID_SETTINGS
            return self._develop(host, int(port))
        if MARKER in os.environ and os.environ.get("APP_ENV") == "local":
            _exit_with_parent(int(os.environ[MARKER]))
            self.app.bind("development.listens", (host, int(port)))
            self._add_console()
        return self._serve(host, int(port))

    def _develop(self, host: str, port: int) -> int:
        """Run the issuer in this process, and the server in a child process that fetches its keys over HTTP."""
        if host not in LOOPBACK_HOSTS:
            return self.fail(f"--host: invalid value {host!r}; expected one of {', '.join(LOOPBACK_HOSTS)}")
        if not _is_free(host, port):
            return self.fail(f"cannot listen on {host}:{port}: it is taken or not available; use another --port")
        storage = self.app.get_storage_path()
        try:
            algorithms = raw_value(self.app.make("config"), "JWT_ALGORITHMS")
            published = Development.keys(storage).public([name.strip() for name in algorithms.split(",")])
            issuer = IssuerServer(published, port=port + 1 if port < 65535 else 0)
            development = Development(_url(host, port), issuer.issuer, os.getpid())
            development.announce(storage)
        except (BadKeyFile, OSError) as error:
            return self.fail(error)
        try:
            return _run_child(
                {
                    "APP_ENV": "local",
                    "JWT_ISSUER": development.issuer,
                    "JWT_AUDIENCE": f"{development.address}/*",
                    "JWKS_URL": "",
                    CONSOLE_SECRET: self._console_secret(),
                }
            )
        finally:
            development.withdraw(storage)
            issuer.close()

    def _console_secret(self) -> str:
        """Return a new secret or, after a restart, the one of before: the console stays open in a browser."""
        if RESTARTED not in os.environ or CONSOLE_SECRET not in os.environ:
            os.environ[CONSOLE_SECRET] = secrets.token_urlsafe(32)
        return os.environ[CONSOLE_SECRET]

    def _add_console(self) -> None:
        from zuplo_origin.dev.console import ROUTES, SECRET, ConsoleMiddleware, LoopbackOnlyMiddleware
        from zuplo_origin.dev.history import HISTORY, History

        self.app.bind(SECRET, os.environ[CONSOLE_SECRET])
        self.app.make("middleware").add([LoopbackOnlyMiddleware]).add({"console": [ConsoleMiddleware]})
        history = History(self.app, (os.environ[CONSOLE_SECRET],))
        self.app.bind(HISTORY, history)
        history.install(self.app)
        router = self.app.make("router")
        # an application that has a route of its own for / keeps it
        router.add(*(route for route in ROUTES if router.collision(route) is None))

    def _serve(self, host: str, port: int) -> int:
        if self.app.make("settings").debug:
            from zuplo_origin.dev import error_page

            self.app.bind(ERROR_PAGE, error_page.show)
        reload = not self.option("dont-reload")
        serving = not reload or os.environ.get("WERKZEUG_RUN_MAIN") == "true"
        is_read_by_a_person = is_styled(sys.stderr)
        if is_read_by_a_person:
            terminal.set_up(self.app, Painter(has_colours(sys.stderr)))
        try:
            check_parameters(self.app)
        except RouteError as error:
            return self._fail_to_start(error)
        if serving:
            self.app.make("jwks").start()
            warn_of_open_routes(self.app)
            try:
                self._serve_metrics()
            except OSError:
                return self.fail(f"METRICS_PORT: {self.app.make('settings').metrics_port} is taken")
        if not serving or not reload:
            self._print_addresses(host, port, reload)
        # at INFO it logs the file that has changed
        logging.getLogger("werkzeug").setLevel(logging.INFO if is_read_by_a_person else logging.WARNING)
        if serving and reload and os.environ.get("APP_ENV") != "production":
            _exit_when_env_file_changes(Path(self.app.base_path))
        QuietHandler.timeout = self.app.make("settings").body_seconds
        # "auto" is watchdog where it is installed. It watches site-packages and the standard library too: each start of
        # another Python process took seconds of CPU time in this one.
        options: Any = {"use_reloader": reload, "reloader_type": "stat", "request_handler": QuietHandler}
        run_simple(host, port, self.app, threaded=True, **options)
        return 0

    def _fail_to_start(self, problem: object) -> int:
        """Print ``problem`` and, if the server has been restarted because a file changed, wait for another change."""
        status = self.fail(problem)
        if os.environ.get("WERKZEUG_RUN_MAIN") == "true":
            restart_after_change(Path(self.app.base_path))
        return status

    def _serve_metrics(self) -> None:
        port = self.app.make("settings").metrics_port
        if port is not None:
            from zuplo_origin.observability import metrics
            from zuplo_origin.server import side_port

            pages = {metrics.PATH: metrics.page(self.app.make("metrics").registry)}
            side_port.serve(self.app.make("settings").host, port, pages)

    def _print_addresses(self, host: str, port: int, reload: bool) -> None:
        url = _url(host, port)
        if is_styled(sys.stdout):
            console = f"{url}/#{os.environ[CONSOLE_SECRET]}" if MARKER in os.environ else None
            self.line("\n".join(terminal.banner(self.app, url, console, reload, self.paint)))
            return
        self.line(f"Development server on {url}. Press Ctrl+C to stop it.")
        if MARKER not in os.environ:
            return
        issuer = self.app.make("settings").issuers[0].name
        self.line(f"JWT_ISSUER is not set: the server accepts tokens of its development issuer {issuer}")
        self.line(f"Console: {url}/#{os.environ[CONSOLE_SECRET]}\n")
        self.line(f"    curl -i {url}/protected")
        self.line(f'    curl -i -H "Authorization: Bearer $(python craft jwt:token)" {url}/protected\n')


_REPLACED = "\N{REPLACEMENT CHARACTER}".encode().decode("latin-1")


class QuietHandler(WSGIRequestHandler):
    """Werkzeug's request handler without its access log: the application has its own."""

    server_version, sys_version = "development", ""

    def make_environ(self) -> dict[str, Any]:
        """Return the environ with the bytes of the path as they were sent (PEP 3333).

        Werkzeug replaces bytes that are not UTF-8. The production server does not, and the request is a 400.
        """
        environ = super().make_environ()
        if lengths := set(self.headers.get_all("Content-Length", ())):
            environ["CONTENT_LENGTH"] = ",".join(sorted(lengths)) or ","  # werkzeug takes the last one
        if _REPLACED in environ["PATH_INFO"]:
            environ["PATH_INFO"] = unquote_to_bytes(urlsplit(self.path).path).decode("latin-1")
        return environ

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Log nothing: a path or a query may contain a token."""


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_free(host: str, port: int) -> bool:
    """Return whether a server can listen on ``host`` and ``port`` now."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def _exit_when_env_file_changes(root: Path) -> None:
    """End this process with ``ENV_FILE_CHANGED`` when ``.env`` is changed, created or deleted.

    Werkzeug's reloader sees no new file, and its next process would have the variables of the old one.
    """

    def leave(number: int, frame: object) -> None:
        raise SystemExit(ENV_FILE_CHANGED)

    def watch() -> None:
        _wait_for_change(root)
        log.info(terminal.ENV_FILE_CHANGED)
        os.kill(os.getpid(), signal.SIGUSR1)  # ends the main thread's sleep too

    signal.signal(signal.SIGUSR1, leave)
    threading.Thread(target=watch, name="env-file", daemon=True).start()


def _wait_for_change(root: Path) -> None:
    """Return when ``.env`` is another one than the first process has read, and stays so: editors write it in steps."""
    seen = os.environ[ENV_FILE_SEEN]
    before = seen
    while True:
        time.sleep(POLL_SECONDS)
        now = env_file_digest(root)
        if now == before != seen:
            return
        before = now


def start_again_when_env_file_changes(root: Path) -> None:
    print("\nWaiting until .env changes. Press Ctrl+C to stop.", file=sys.stderr, flush=True)
    with suppress(KeyboardInterrupt):
        _wait_for_change(root)
        _start_again()
    raise SystemExit(130)


def _start_again() -> None:
    """Replace this process by a new one of the same command, with the environment that this one was started with."""
    environment = {**INHERITED, RESTARTED: "1"}
    if CONSOLE_SECRET in os.environ:
        environment[CONSOLE_SECRET] = os.environ[CONSOLE_SECRET]
    if "WERKZEUG_SERVER_FD" in os.environ:  # the listening socket: the new process opens its own
        with suppress(OSError):  # closed already
            os.set_inheritable(int(os.environ["WERKZEUG_SERVER_FD"]), False)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606


def _run_child(variables: Mapping[str, str]) -> int:
    """Run this command again in a child process, with more environment variables, and return its exit status.

    The child holds the reading end of a pipe. The pipe closes when this process ends, even by SIGKILL.
    """
    reading, writing = os.pipe()
    environment = {**os.environ, **variables, MARKER: str(reading)}
    with subprocess.Popen([sys.executable, *sys.argv], env=environment, pass_fds=[reading]) as child:
        os.close(reading)
        signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
        while True:
            try:
                status = child.wait()
                break
            except KeyboardInterrupt:
                continue  # the terminal sends SIGINT to the child too
        os.close(writing)
    return status if status >= 0 else 0


def _exit_with_parent(reading: int) -> None:
    """Exit this process when the pipe ``reading`` closes."""

    def watch() -> None:
        os.read(reading, 1)
        os._exit(0)

    os.set_inheritable(reading, True)  # for the reloader's child
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
