"""Coverage-guided fuzzing of settings, paths, routes and bodies: ``python -m package_tests.fuzz_inputs --seconds 60``

For any input, settings are read or reported as problems, a path matches a route or gets 404 or 405, a route is added or
rejected, and a body is read or gets an error of the table in ``docs/errors.md``. Any other exception ends the run, and
prints its input. Needs ``requirements-fuzz.txt``.
"""

import argparse
import io
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(
    include=["zuplo_origin.encoding", "zuplo_origin.settings", "zuplo_origin.http", "zuplo_origin.jwt.claims"]
):
    from zuplo_origin import settings
    from zuplo_origin.http.content import Content
    from zuplo_origin.http.errors import HttpException
    from zuplo_origin.http.requests import Request
    from zuplo_origin.http.routing import RouteError
    from zuplo_origin.settings import SETTINGS, BadSettings, read_settings

from masonite.controllers import Controller
from masonite.routes import Route

from package_tests.support.applications import application

LIMIT = 65_536
STATUSES = {400, 413, 415, 422}
FILES = ("TLS_", "UPLOAD_DIR", "ENV_FILE")
"""Settings that name files: the fuzzer does not read those of this machine."""
NAMES = [name for name in SETTINGS if not name.startswith(FILES)]


class Actions(Controller):
    def show(self) -> Any:
        return {}


URLS = ["/", "/orders", "/orders/@id:int", "/orders/@id/lines/@line", "/files/@path:any", "/x/?y", "/a.b", "/u/@u:uuid"]
APPLICATION = application(*[Route.get(url, Actions.show) for url in URLS])
ROUTER, EMPTY = APPLICATION.make("router"), application().make("router")


class Config:
    """``config/`` with the settings of one input."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = {SETTINGS[name].path: value for name, value in values.items()}

    def get(self, path: str, default: Any = None) -> Any:
        return self._values.get(path, "" if path in ("jwt.issuers",) else default)


def one_input(data: bytes) -> None:
    """Check one input. Its first byte is the kind of the others."""
    kind, rest = data[:1], data[1:]
    if kind == b"s":
        check_settings(rest)
    elif kind == b"p":
        check_path(rest)
    elif kind == b"r":
        check_route(rest.decode("utf-8", "replace"))
    elif kind == b"m":
        check_body(rest, "multipart/form-data; boundary=xyz")
    elif kind == b"t":
        content_type, _, body = rest.partition(b"\n")
        check_body(body, content_type.decode("latin-1"))
    elif kind == b"f":
        check_body(rest, "application/x-www-form-urlencoded")
    else:
        check_body(rest, "application/json")


def check_settings(rest: bytes) -> None:
    """Read lines of ``NUMBER value``, of which the number selects a setting."""
    values: dict[str, Any] = {"JWT_ISSUER": "https://gw.example", "JWT_AUDIENCE": "*"}
    for line in rest.decode("utf-8", "replace").split("\n"):
        if line:
            values[NAMES[ord(line[0]) % len(NAMES)]] = line[1:]
    try:
        found = read_settings(Config(values))
    except BadSettings as bad:
        assert str(bad).startswith("Cannot start: ")
        for name in ("APP_KEY", "GATEWAY_SECRET"):
            secret = values.get(name, "")
            assert len(secret) < 12 or secret not in str(bad)
        return
    assert found.issuers and 1 <= found.port <= 65535 and found.leeway <= 300


def check_path(rest: bytes) -> None:
    path, _, query = rest.partition(b"?")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path.decode("latin-1"), "QUERY_STRING": query.decode("latin-1")}
    environ |= {"CONTENT_LENGTH": "0", "wsgi.input": io.BytesIO(), "HTTP_COOKIE": query.decode("latin-1")}
    request = Request(environ)
    request.app = APPLICATION
    for read in (
        request.all,
        lambda: request.query("a.b"),
        lambda: request.cookie("a"),
        lambda: request.input("a.*.b"),
    ):
        expect(read, STATUSES)
    try:
        text = request.get_path()
    except HttpException as error:
        assert error.status == 400
        return
    try:
        route, parameters = ROUTER.match(text, "GET")
    except HttpException as error:
        assert error.status in (404, 405)
        return
    assert {".", ".."}.isdisjoint(text.split("/"))
    for name, value in parameters.items():
        assert name == "path" or value is None or "/" not in str(value), (route.url, parameters)


def check_route(url: str) -> None:
    try:
        route = Route.get(url, Actions.show)
    except Exception:  # Masonite makes a regular expression of it
        return
    try:
        EMPTY.set(route)
    except RouteError:
        return
    try:
        EMPTY.match(url, "GET")
    except HttpException as error:
        assert error.status in (404, 405)


def check_body(body: bytes, content_type: str) -> None:
    environ = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    content = Content(environ, LIMIT)
    fields = expect(content.fields, STATUSES)
    expect(content.json, STATUSES)
    expect(content.raw, STATUSES)
    if isinstance(fields, dict) and content.is_json:
        json.dumps(fields, allow_nan=False).encode()
    content.close()


def expect(read: Any, statuses: set[int]) -> Any:
    try:
        return read()
    except HttpException as error:
        assert error.status in statuses
        return None


SEEDS = [
    b"s\x01local\n\x05https://x.example/*,a\n\x06RS256,none",
    b"sa0.5\nb-1\nc100000000000",
    *[b"p" + url.encode() for url in URLS],
    b"p/orders/7?a[]=1&a[b][c]=2&d=%ff",
    b"p/%2e%2e/orders",
    *[b"r" + url.encode() for url in URLS],
    b"r/@a@b/{c}",
    b'm--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--xyz--\r\n',
    b'm--xyz\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nb\r\n--xyz--',
    b'tapplication/json; charset=utf-16\n{"a": 1}',
    b'tmultipart/form-data; boundary="a b"\n--a b--',
    b"fa=b&a=c&d[]=e&f[g]=h",
    b'j{"a": [1, 2.5, "\\ud83d\\ude00", null, true]}',
    b'j{"a": 1e999}',
    b"j[[[[[]]]]]",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    settings.why_unusable = lambda *bundle: None  # reading the CA bundle takes a third of a second
    with tempfile.TemporaryDirectory() as folder:
        for at, seed in enumerate(SEEDS):
            (Path(folder) / str(at)).write_bytes(seed)
        arguments = [f"-max_total_time={options.seconds}", "-max_len=6000", "-timeout=5", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *arguments, f"-artifact_prefix={tempfile.gettempdir()}/", folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
