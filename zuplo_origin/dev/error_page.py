"""The page that a development server with ``APP_DEBUG`` shows a browser for an unhandled exception."""

import linecache
import secrets
from collections.abc import Mapping
from html import escape
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from zuplo_origin.http.errors import described, phrase
from zuplo_origin.http.requests import environ_key

from .console import LOOPBACK_NAMES, is_proxied
from .history import HISTORY

POLICY = (
    "default-src 'none'; img-src data:; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
SECRET = ("authorization", "cookie", "secret", "token", "key", "password", "signature")
"""A header with one of these in its name is not shown."""
AROUND = 3
"""Lines of source above and below the line of a frame."""
LONGEST = 2_000
"""Characters of a message, a path or a header that are shown."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style nonce="{nonce}">
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; max-width: 70rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.4rem; }}
h2 {{ font-size: 1.1rem; overflow-wrap: anywhere; }}
pre {{ overflow-x: auto; padding: .5rem; border: 1px solid #6b7280; }}
.message {{ white-space: pre-wrap; overflow-wrap: anywhere; border-width: 2px; }}
td, th {{ text-align: left; vertical-align: top; padding-right: 1rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<main>
<h1>{type}</h1>
<pre class="message">{message}</pre>
{frames}
<h2>Request</h2>
<table>
{rows}
</table>
{history}
<p>APP_DEBUG is True: this page is shown to browsers on this machine only. Other clients get JSON.</p>
</main>
</body>
</html>
"""


def show(request: Any, response: Any, exception: BaseException) -> bool:
    """Fill ``response`` with the page for ``exception``, and return True; return False if the client gets JSON.

    The page is for a browser on this machine that prefers HTML to JSON, and whose request no proxy has forwarded.
    """
    environ = request.environ
    if not (_is_local(environ) and not is_proxied(environ) and _prefers_html(environ.get("HTTP_ACCEPT", ""))):
        return False
    nonce = secrets.token_urlsafe(16)
    response.header("Content-Security-Policy", POLICY.format(nonce=nonce))
    response.header("Content-Type", "text/html; charset=utf-8")
    response.json_text(_page(request, exception, nonce).encode("utf-8", "backslashreplace"), 500)
    return True


def _is_local(environ: Mapping[str, Any]) -> bool:
    """Return whether peer and ``Host`` are loopback. DNS rebinding reaches this server under another name."""
    host = environ.get("HTTP_HOST", "").lower().removesuffix(f":{environ.get('SERVER_PORT', '')}")
    try:
        return ip_address(environ.get("REMOTE_ADDR") or "").is_loopback and host in LOOPBACK_NAMES
    except ValueError:
        return False


def _prefers_html(accept: str) -> bool:
    accepted = parse_accept_header(accept, MIMEAccept)
    return accepted["text/html"] > accepted["application/json"]


def _page(request: Any, exception: BaseException, nonce: str) -> str:
    base = Path(request.app.base_path)
    found = described(exception, base)
    rows = {"Method": request.get_request_method(), "Path": request.get_path(), "Route": request.route_label}
    rows |= {header.name: header.value for header in request.header_bag.bag.values() if _is_shown(request, header.name)}
    return _PAGE.format(
        nonce=nonce,
        title=_text(f"{phrase(500)}: {found['type']}"),
        type=_text(found["type"]),
        history=_history_link(request),
        message=_text(found["message"]),
        frames="\n".join(_frame(frame, base) for frame in found["frames"]),
        rows="\n".join(
            f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in rows.items()
        ),
    )


def _history_link(request: Any) -> str:
    """Return a link to the request's entry in the console; without the secret, which the browser has stored."""
    if not request.app.has(HISTORY):
        return ""
    return f'<p><a href="/console#history={quote(request.id)}">This request in the console\'s History</a></p>'


def _is_shown(request: Any, name: str) -> bool:
    own = request.app.make("settings").header
    return environ_key(name) != environ_key(own) and not any(part in name.lower() for part in SECRET)


def _frame(frame: Mapping[str, Any], base: Path) -> str:
    file, number = str(base / frame["file"]), frame["line"] or 0
    lines = linecache.getlines(file)
    first, last = max(1, number - AROUND), min(len(lines), number + AROUND)
    source = "".join(
        f"{'→' if each == number else ' '} {each:>5}  {_text(lines[each - 1].rstrip())}\n"
        for each in range(first, last + 1)
    )
    title = _text(f"{frame['file']}, line {number}, in {frame['function']}")
    return f'<h2>{title}</h2>\n<pre tabindex="0">{source}</pre>'


def _text(value: Any) -> str:
    text = str(value)
    return escape(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
