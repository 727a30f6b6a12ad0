"""A gateway that runs an exported Zuplo project: its routes, policies and variables, by Zuplo's documentation.

It reads `config/routes.oas.json`, `config/policies.json` and `modules/zuplo.runtime.ts`. What it does not know in them
is a `ValueError`: a wrong export is not deployed. It never sends a request to an origin twice.
"""

import http.client
import json
import re
import select
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from jose import JOSEError, jwt

from .issuer import PATH, send
from .signing import Key

RUNTIME = "$import(@zuplo/runtime)"
PIECE = 65536
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class Rejected(Exception):
    """The gateway responds itself."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass
class User:
    """``request.user`` of Zuplo: the consumer of an API key, or the subject of a token."""

    sub: str
    data: dict[str, Any]


@dataclass
class Forwarded:
    """A request on its way through the policies. The names of its headers are in lower case."""

    url: str
    headers: dict[str, str]
    user: User | None = None


@dataclass(frozen=True)
class Policy:
    name: str
    run: Callable[["Gateway", Forwarded, dict[str, Any]], None]
    options: dict[str, Any]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    base_url: str
    policies: list[Policy]


@dataclass
class Origin:
    """An origin's port, and the connections to it that are not in use: those that have been idle longest come first."""

    port: int
    opened: int = 0
    connections: deque[http.client.HTTPConnection] = field(default_factory=deque)

    def connection(self) -> http.client.HTTPConnection:
        while self.connections:
            kept = self.connections.popleft()
            if kept.sock is not None and not select.select([kept.sock], [], [], 0)[0]:
                return kept
            kept.close()  # the origin has closed it
        self.opened += 1
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


class Gateway:
    """The gateway, in threads of its own. `consumers` are the metadata of each API key's consumer, with its `name`.

    `environment` has the variables of the project: ``ORIGIN_URL`` is ``http://origin``, a host with the addresses
    `origins`, which take turns. `issuer` is the name of the issuer; `is_out` makes it close connections.
    """

    def __init__(self, consumers: Mapping[str, dict[str, Any]]) -> None:
        self.consumers, self.environment = consumers, {"ORIGIN_URL": "http://origin"}
        self.origins: list[Origin] = []
        self.routes: list[Route] = []
        self.keys = [Key("EdDSA", "gateway-1")]
        self.is_out, self.lost_fetches, self._turn = False, 0, 0
        self._lock = threading.Lock()  # guards _turn
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def respond(self) -> None:
                gateway.respond(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = respond

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = self.url + PATH
        threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for origin in self.origins:
            for connection in origin.connections:
                connection.close()

    # -- the project ---------------------------------------------------------------------------------------------------

    def deploy(self, folder: Path) -> None:
        """Read the project in `folder`. Raises ``ValueError`` for what this gateway does not know."""
        policies: dict[str, Policy] = {}
        for each in json.loads((folder / "config/policies.json").read_text())["policies"]:
            _only(each, "name", "policyType", "handler")
            if each["name"] in policies:
                raise ValueError(f"two policies are called {each['name']}")
            policies[each["name"]] = _policy(each)
        runtime = folder / "modules/zuplo.runtime.ts"
        signs = runtime.exists() and "addPlugin(new JwtServicePlugin())" in runtime.read_text()
        routes = []
        for path, entry in json.loads((folder / "config/routes.oas.json").read_text())["paths"].items():
            if entry.get("x-zuplo-path") != {"pathMode": "open-api"}:
                raise ValueError(f"{path}: its path mode is not open-api")
            for method, operation in entry.items():
                if not method.startswith("x-"):
                    routes.append(_route(path, method.upper(), operation["x-zuplo-route"], policies))
        if not signs and any(policy.run is sign_token for route in routes for policy in route.policies):
            raise ValueError("a policy signs tokens, but the runtime has no JwtServicePlugin")
        for name in re.findall(r"\$env\((.*?)\)", repr(routes)):
            self.variable(name)
        self.routes = routes

    @contextmanager
    def deployed(self, folder: Path) -> Iterator[None]:
        """Run another project for the duration of the block."""
        before = self.routes
        self.deploy(folder)
        try:
            yield
        finally:
            self.routes = before

    def variable(self, name: str) -> str:
        if name not in self.environment:
            raise ValueError(f"the environment has no variable {name}")
        return self.environment[name]

    def expanded(self, text: str) -> str:
        """Return `text` with the values of ``$env(NAME)``."""
        return re.sub(r"\$env\((.*?)\)", lambda found: self.variable(found[1]), text)

    # -- the issuer ----------------------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Sign with a new key from now on. The key before it stays published until the next rotation."""
        self.keys = [Key("EdDSA", f"gateway-{uuid.uuid4()}"), self.keys[0]]

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        return self.keys[0].token({"iss": self.issuer, "iat": now, "nbf": now, "exp": now + 300} | claims)

    # -- requests ------------------------------------------------------------------------------------------------------

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith(f"{PATH}/"):
            self._publish(handler)
            return
        try:
            path, _, query = handler.path.partition("?")
            route = self._route(handler.command, path)
            request = Forwarded(self.url + path, {name.lower(): value for name, value in handler.headers.items()})
            for policy in route.policies:
                policy.run(self, request, policy.options)
            self._forward(handler, route, request, path + ("?" + query if query else ""))
        except Rejected as rejected:
            handler.close_connection = True  # its body has not been read
            problem = {"title": http.client.responses[rejected.status]}
            body = json.dumps(problem | {"status": rejected.status, "detail": rejected.detail}).encode()
            headers = {"Content-Type": "application/problem+json", "Connection": "close"}
            send(handler, rejected.status, body, headers)

    def _publish(self, handler: BaseHTTPRequestHandler) -> None:
        documents: dict[str, Any] = {
            f"{PATH}/.well-known/jwks.json": {"keys": [key.jwk() for key in self.keys]},
            f"{PATH}/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/.well-known/jwks.json",
                "id_token_signing_alg_values_supported": ["EdDSA"],
            },
        }
        if self.is_out:
            self.lost_fetches += 1
            handler.close_connection = True
        elif handler.path in documents:
            send(handler, 200, json.dumps(documents[handler.path]).encode())
        else:
            send(handler, 404, b"{}")

    def _route(self, method: str, path: str) -> Route:
        """Return the first route of the file that matches."""
        for route in self.routes:
            if route.method == method and route.pattern.fullmatch(path):
                return route
        raise Rejected(404, "No route matches")

    def _forward(self, handler: BaseHTTPRequestHandler, route: Route, request: Forwarded, path: str) -> None:
        url = urlsplit(self.expanded(route.base_url))
        if (url.scheme, url.netloc) != ("http", "origin"):
            raise ValueError(f"{url.geturl()}: unknown host")
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        headers |= {"host": url.netloc, "zp-rid": str(uuid.uuid4())}
        is_chunked = "transfer-encoding" in request.headers
        headers |= {"transfer-encoding": "chunked"} if is_chunked else {}
        with self._lock:
            self._turn += 1
            origin = self.origins[self._turn % len(self.origins)]
        connection = origin.connection()
        body = _body(handler, is_chunked)
        sent = body if is_chunked or "content-length" in headers else None
        try:
            connection.request(handler.command, url.path + path, sent, headers, encode_chunked=is_chunked)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Rejected(502, repr(error)) from None
        for _ in body:  # what an early response has left
            pass
        if _pass_on(handler, response):
            origin.connections.append(connection)
        else:
            connection.close()


def _body(handler: BaseHTTPRequestHandler, is_chunked: bool) -> Iterator[bytes]:
    """Yield the body of a request as it arrives."""
    if not is_chunked:
        left = int(handler.headers.get("Content-Length", 0))
        while left and (piece := handler.rfile.read1(min(left, PIECE))):  # type: ignore[attr-defined]
            left -= len(piece)
            yield piece
        return
    while size := int(handler.rfile.readline(), 16):
        yield handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()


def _pass_on(handler: BaseHTTPRequestHandler, response: http.client.HTTPResponse) -> bool:
    """Send a response as it arrives, and return whether the origin keeps the connection."""
    handler.send_response_only(response.status, response.reason)
    for name, value in response.getheaders():
        if name.lower() not in HOP_BY_HOP:
            handler.send_header(name, value)
    has_body = handler.command != "HEAD" and response.status not in (204, 304)
    is_chunked = has_body and response.length is None
    if is_chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    try:
        while has_body and (piece := response.read1(PIECE)):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
    except (OSError, http.client.HTTPException):
        handler.close_connection = True  # the caller sees a broken response too
        return False
    if is_chunked:
        handler.wfile.write(b"0\r\n\r\n")
    response.read()
    return not response.will_close


# -- policies ---------------------------------------------------------------------------------------------------------


def authenticate_by_key(gateway: Gateway, request: Forwarded, options: dict[str, Any]) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    consumer = gateway.consumers.get(key) if scheme.lower() == "bearer" else None
    if consumer is not None:
        request.user = User(consumer["name"], consumer.get("metadata", {}))
    elif not options.get("allowUnauthenticatedRequests"):
        raise Rejected(401, "The API key is missing or invalid")


def authenticate_by_token(gateway: Gateway, request: Forwarded, options: dict[str, Any]) -> None:
    scheme, _, token = request.headers.get(options.get("authHeader", "authorization").lower(), "").partition(" ")
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy
            keys = session.get(options["jwkUrl"], timeout=30).json()
        claims = jwt.decode(
            token, keys, algorithms=["RS256"], issuer=options.get("issuer"), audience=options.get("audience")
        )
    except JOSEError:
        claims = None
    if claims is not None and scheme.lower() == "bearer":
        request.user = User(claims["sub"], claims)
    elif not options.get("allowUnauthenticatedRequests"):
        raise Rejected(401, "The token is missing or invalid")


def sign_token(gateway: Gateway, request: Forwarded, options: dict[str, Any]) -> None:
    user, selectors = request.user, options.get("claimsFromUser", {})
    if selectors and user is None:
        raise Rejected(401, "claimsFromUser needs an authenticated user")
    if taken := set(selectors) & {"iss", "aud", "exp", "nbf", "iat", "jti"}:
        raise ValueError(f"the gateway sets {sorted(taken)} itself")
    claims = {name: _selected(user, selector) for name, selector in selectors.items()}
    token = gateway.token(
        **{
            "sub": options.get("subject") or (user.sub if user else "api-gateway"),
            "aud": options.get("audience", request.url),
            "exp": int(time.time()) + options.get("expiresIn", 300),
        }
        | options.get("additionalClaims", {})
        | {name: value for name, value in claims.items() if value is not None}
    )
    prefix = options.get("tokenPrefix", "Bearer")
    request.headers[options.get("headerName", "authorization").lower()] = f"{prefix} {token}".strip()


def set_headers(gateway: Gateway, request: Forwarded, options: dict[str, Any]) -> None:
    for header in options["headers"]:
        _only(header, "name", "value", "overwrite")
        if header.get("overwrite", True) or header["name"].lower() not in request.headers:
            request.headers[header["name"].lower()] = gateway.expanded(header["value"])


def remove_headers(gateway: Gateway, request: Forwarded, options: dict[str, Any]) -> None:
    for name in options["headers"]:
        request.headers.pop(name.lower(), None)


POLICIES = {
    ("api-key-inbound", "ApiKeyInboundPolicy"): (
        authenticate_by_key,
        ("allowUnauthenticatedRequests", "cacheTtlSeconds"),
    ),
    ("open-id-jwt-auth-inbound", "OpenIdJwtInboundPolicy"): (
        authenticate_by_token,
        ("allowUnauthenticatedRequests", "audience", "authHeader", "issuer", "jwkUrl"),
    ),
    ("upstream-zuplo-jwt-auth-inbound", "UpstreamZuploJwtAuthInboundPolicy"): (
        sign_token,
        ("additionalClaims", "audience", "claimsFromUser", "expiresIn", "headerName", "subject", "tokenPrefix"),
    ),
    ("set-headers-inbound", "SetHeadersInboundPolicy"): (set_headers, ("headers",)),
    ("remove-headers-inbound", "RemoveHeadersInboundPolicy"): (remove_headers, ("headers",)),
}
"""Type and handler of each policy, to its function and the options that this knows."""


def _policy(entry: dict[str, Any]) -> Policy:
    handler = entry["handler"]
    found = POLICIES.get((entry["policyType"], handler["export"]))
    if found is None or handler["module"] != RUNTIME:
        raise ValueError(f"unknown policy {entry['policyType']} of {handler['export']} in {handler['module']}")
    _only(handler, "export", "module", "options")
    run, options = found
    _only(handler["options"], *options)
    return Policy(entry["name"], run, handler["options"])


def _route(path: str, method: str, entry: dict[str, Any], policies: dict[str, Policy]) -> Route:
    _only(entry, "corsPolicy", "handler", "policies")
    handler = entry["handler"]
    if (handler["export"], handler["module"]) != ("urlForwardHandler", RUNTIME):
        raise ValueError(f"{path}: unknown handler {handler}")
    _only(handler["options"], "baseUrl")
    names = _only(entry["policies"], "inbound")["inbound"]
    missing = [name for name in names if name not in policies]
    if missing:
        raise ValueError(f"{path}: no policy is called {', '.join(missing)}")
    parts = re.split(r"\{[^{}]*\}", path)
    pattern = re.compile("[^/]+".join(re.escape(part) for part in parts) + "/?")  # with and without a slash at the end
    return Route(method, pattern, handler["options"]["baseUrl"], [policies[name] for name in names])


def _only(value: dict[str, Any], *known: str) -> dict[str, Any]:
    if unknown := set(value) - set(known):
        raise ValueError(f"unknown members {sorted(unknown)} in {value}")
    return value


def _selected(user: User | None, selector: str) -> Any:
    """Return what a selector such as ``data.scope`` or ``data["a.b"]`` finds in the user; ``None`` without it."""
    if not re.fullmatch(r'\w+(\.\w+|\["[^"\\]+"\])*', selector):
        raise ValueError(f"unknown selector {selector}")
    value: Any = vars(user)
    for name, quoted in re.findall(r'(\w+)|\["(.*?)"\]', selector):
        value = value.get(name or quoted) if isinstance(value, dict) else None
    return value
