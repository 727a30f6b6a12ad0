"""Idempotent actions: a request that is sent again gets the response of the first one, and the action runs once.

See draft-ietf-httpapi-idempotency-key-header. With a database, the response is committed in one transaction with what
the action writes: a process may be killed at any time, and the action has run once or not at all. Without one, keys
are kept in the cache, and an action whose process was killed may run again.
"""

import json
import logging
import random
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from hashlib import sha256
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar, cast, overload

from masonite.headers import Header

from zuplo_origin.http.actions import declare_header, request_headers
from zuplo_origin.http.application import Application
from zuplo_origin.http.errors import HttpException
from zuplo_origin.jwt.claims import parse_required

from .start import stop

log = logging.getLogger("zuplo_origin.idempotency")

Action = TypeVar("Action", bound=Callable[..., Any])

HEADER = "Idempotency-Key"
TABLE = "idempotency_keys"
SECONDS = 24 * 3600
"""Time that a response is kept."""
LEASE = 60
"""Seconds after which a request that has not ended no longer keeps others with its key from running the action."""
LARGEST = 1_048_576
"""Bytes of a response that is kept."""
_KEY = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
_ATTEMPTS = 10
_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "description": "A key of the client's choice, of 1 to 255 printable ASCII characters. A request with the same key "
    "gets the response of the first one.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


class Entry(NamedTuple):
    """The entry of a key: the request that claimed it, and its response, unless the action still runs."""

    fingerprint: str
    claim: str
    expires_at: int
    response: dict[str, Any] | None


class LostClaim(HttpException):
    """The action took longer than its lease, and another request with its key runs. Responded to with 409."""

    def __init__(self) -> None:
        super().__init__(409, "another request with this Idempotency-Key runs", {"Retry-After": "1"})


@overload
def idempotent(action: Action) -> Action: ...
@overload
def idempotent(
    *, required: bool = False, seconds: int = SECONDS, lease: int = LEASE, claims: tuple[str, ...] = ()
) -> Callable[[Action], Action]: ...
def idempotent(
    action: Any = None,
    *,
    required: bool = False,
    seconds: int = SECONDS,
    lease: int = LEASE,
    claims: tuple[str, ...] = (),
) -> Any:
    """Run the action below once for each ``Idempotency-Key`` of a caller.

    A later request with the key gets the stored response for ``seconds``: 409 while the first one runs, 422 with
    another body, query or content type. Only a response that the action returns is stored: an exception rolls back its
    transaction and frees the key. ``required`` makes a request without a key 400. A key whose process has died is free
    after ``lease`` seconds; an action that takes longer is rolled back.

    Callers are separated by ``iss``, ``sub``, the claims that ``.middleware("claims:tenant")`` requires with any value,
    and ``claims``. A token that has none of them but ``iss`` is 400.
    """
    if action is None:
        options = {"required": required, "seconds": seconds, "lease": lease, "claims": claims}
        return lambda function: idempotent(function, **options)
    if isinstance(claims, str):
        raise TypeError(f"{action.__qualname__}: claims={claims!r}; expected a tuple of names")

    @wraps(action)
    def run(*arguments: Any, **named: Any) -> Any:
        scope: Any = Application.current_scope()
        request, response = scope["request"], scope["response"]
        key = _key_of(request.header(HEADER), required)
        if key is None:
            return action(*arguments, **named)
        identity, fingerprint = _identity(request, key, claims), _fingerprint(request)
        store = _store_of(request.app)
        now, claim = int(time.time()), token_hex(16)
        found = store.claim(identity, Entry(fingerprint, claim, now + lease, None))
        if found is not None:
            return _repeat(found, fingerprint, response)
        try:
            with store.transaction():
                returned = action(*arguments, **named)
                if returned is not response:
                    response.view(returned)
                if response.streamed is not None:
                    raise TypeError(f"{action.__qualname__} is idempotent: its response cannot be a stream")
                store.finish(identity, Entry(fingerprint, claim, now + seconds, _stored(response)))
        except BaseException:
            _release(store, identity, claim)
            raise
        return response

    return declare_header(run, _PARAMETER | {"required": required}, (400, 409, 422))


def check_store(application: Any) -> None:
    """Exit if an action is idempotent, and there is neither a database nor a cache to keep its keys in."""
    if application.has("database") or application.has("cache") or not application.has("router"):
        return
    for route in application.make("router").routes:
        headers = request_headers(getattr(route.controller_class, str(route.controller_method), None))
        if any(parameter["name"] == HEADER for parameter, _ in headers):
            stop([f"{route.url}: @idempotent needs DatabaseProvider or CacheProvider in config/providers.py."])


def _key_of(value: str | None, required: bool) -> str | None:
    if value is None:
        if required:
            raise HttpException(400, f"{HEADER} is missing")
        return None
    found = _KEY.fullmatch(value.strip())
    if found is None:
        raise HttpException(400, f"{HEADER} is not a string of 1 to 255 printable ASCII characters")
    return found[1] or found[2]


def _identity(request: Any, key: str, claims: tuple[str, ...]) -> str:
    """Return what no other caller, method or path has for its keys."""
    names = ["sub", *claims, *_required_claims(request.route)]
    caller = {name: _unordered(request.claim(name)) for name in names}
    if request.user() is not None and all(value is None for value in caller.values()):
        raise HttpException(400, f"{HEADER} needs a token with the claim {' or '.join(caller)}")
    named = [request.claim("iss"), sorted(caller.items()), request.get_request_method(), request.get_path(), key]
    return sha256(json.dumps(named).encode()).hexdigest()


def _unordered(claim: Any) -> Any:
    """Return a claim without the order of a list: an issuer may name groups in another one."""
    return sorted(json.dumps(each, sort_keys=True) for each in claim) if isinstance(claim, list) else claim


def _required_claims(route: Any) -> list[str]:
    """Return the claims that ``.middleware("claims:…")`` requires of ``route`` with any value."""
    required = [each.partition(":")[2] for each in route.get_middlewares() if each.startswith("claims:")]
    parsed = [parse_required(each) for text in required for each in text.split(",")]
    return [name for name, accepted in parsed if accepted == ()]


def _fingerprint(request: Any) -> str:
    digest = sha256(json.dumps([request.environ.get("QUERY_STRING"), request.environ.get("CONTENT_TYPE")]).encode())
    for chunk in request.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _repeat(found: Entry, fingerprint: str, response: Any) -> Any:
    """Fill ``response`` with the stored one, and return it."""
    if found.fingerprint != fingerprint:
        raise HttpException(422, f"{HEADER} was used for another request")
    if found.response is None:
        seconds = max(1, min(5, found.expires_at - int(time.time())))
        raise HttpException(409, f"the first request with this {HEADER} runs", {"Retry-After": str(seconds)})
    response.status(found.response["status"])
    response.content = b64decode(found.response["body"])
    for name, value in [*found.response["headers"], ("Idempotency-Replayed", "true")]:
        response.header_bag.add(Header(name, value))
    return response


def _stored(response: Any) -> dict[str, Any]:
    body: bytes = response.get_response_content()
    if len(body) > LARGEST:
        raise ValueError(f"the response of an idempotent action has {len(body)} bytes; {LARGEST} are kept")
    headers = [header for header in response.header_bag.render() if header[0].lower() != "set-cookie"]
    return {"status": str(response.get_status_code()), "headers": headers, "body": b64encode(body).decode()}


def _release(store: Any, identity: str, claim: str) -> None:
    try:
        store.release(identity, claim)
    except Exception:  # the exception of the action is the one to report; the lease ends by itself
        log.exception("idempotency_key_not_released", extra={"fields": {}})


def _store_of(application: Any) -> Any:
    if application.has("database"):
        return _Table(application.make("database"))
    return _Cached(application.make("cache").store())


class _Table:
    """Keys in the table ``idempotency_keys`` of the default connection."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def _rows(self, identity: str | None = None) -> Any:
        rows = self._database.get_query_builder().table(TABLE)
        return rows if identity is None else rows.where("id", identity)

    def transaction(self) -> AbstractContextManager[Any]:
        return cast(AbstractContextManager[Any], self._database.transaction())

    def claim(self, identity: str, entry: Entry) -> Entry | None:
        """Store ``entry``, and return ``None``; or return the entry that is there, and has not expired."""
        from .connections import UniqueViolation

        if random.random() < 0.01:  # noqa: S311
            self._rows().where("expires_at", "<=", int(time.time())).delete()
        row: Any = None
        for _ in range(_ATTEMPTS):
            row = self._rows(identity).first()
            if row is None:
                try:
                    self._rows().create({"id": identity} | _columns(entry))
                except UniqueViolation:
                    continue
                return None
            if int(row["expires_at"]) > time.time():
                break
            expired = self._rows(identity).where("claim", row["claim"]).where("expires_at", row["expires_at"])
            if _changes_a_row(expired, _columns(entry)):
                return None
        response = None if row["response"] is None else json.loads(row["response"])
        return Entry(row["fingerprint"], row["claim"], int(row["expires_at"]), response)

    def finish(self, identity: str, entry: Entry) -> None:
        """Store the response. Raises ``LostClaim`` if another request has claimed the key."""
        if not _changes_a_row(self._rows(identity).where("claim", entry.claim), _columns(entry)):
            raise LostClaim

    def release(self, identity: str, claim: str) -> None:
        self._rows(identity).where("claim", claim).where_null("response").delete()


def _columns(entry: Entry) -> dict[str, Any]:
    return entry._asdict() | {"response": None if entry.response is None else json.dumps(entry.response)}


def _changes_a_row(rows: Any, columns: dict[str, Any]) -> bool:
    rows.update(columns)
    return bool(rows.new_connection().get_row_count() == 1)


class _Cached:
    """Keys in the default store of the cache."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def transaction(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def claim(self, identity: str, entry: Entry) -> Entry | None:
        from .cache import MISSING, encode

        lease = max(1, entry.expires_at - time.time())
        found = self._store.write_if_missing(f"idempotency:{identity}", encode(list(entry)), lease)
        return None if found is MISSING else Entry(*found)

    def finish(self, identity: str, entry: Entry) -> None:
        if not self._is_mine(identity, entry.claim):
            raise LostClaim
        self._store.put(f"idempotency:{identity}", list(entry), entry.expires_at - time.time())

    def release(self, identity: str, claim: str) -> None:
        if self._is_mine(identity, claim):
            self._store.forget(f"idempotency:{identity}")

    def _is_mine(self, identity: str, claim: str) -> bool:
        found = self._store.get(f"idempotency:{identity}")
        return found is not None and Entry(*found).claim == claim
