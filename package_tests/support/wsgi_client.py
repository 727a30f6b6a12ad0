"""Send requests to a WSGI callable, without a server."""

import io
import json
from dataclasses import dataclass
from typing import Any


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes
    header_list: list[tuple[str, str]]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def environ(method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> dict[str, Any]:
    path, _, query = path.partition("?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body or b""),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if body is not None:
        made["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        made[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return made


def call(application: Any, made: dict[str, Any]) -> Response:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    chunks = application(made, lambda status, headers, exc_info=None: started.append((status, headers)))
    body = b"".join(chunks)
    (status, headers), *more = started
    assert not more
    return Response(int(status[:3]), {name.lower(): value for name, value in headers}, body, headers)


def request(
    application: Any,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Response:
    return call(application, environ(method, path, headers, body))
