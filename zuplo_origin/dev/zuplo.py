"""The Zuplo project that ``craft zuplo:export`` writes and updates: it forwards the routes to this origin."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zuplo_origin.openapi.description import ERROR, JSON, Operation, described, tags

from . import gateway_claims, gateway_files
from .gateway_claims import Requirement
from .json_edit import MISSING, JsonText

ROUTES, POLICIES = "config/routes.oas.json", "config/policies.json"
AUTHENTICATE, AUTHENTICATE_USER = "authenticate", "authenticate-user"
SIGN, REMOVE_KEY, ADD_SECRET = "sign-for-origin", "remove-api-key", "add-backend-secret"
"""The names of the policies: authenticate a caller by API key or by the token of an identity provider, sign a token for
the origin, remove the API key, and add the gateway's secret."""
SIGN_TYPE = "upstream-zuplo-jwt-auth-inbound"
SCOPES = "x-origin-scopes"
"""The member of an exported operation that lists the scopes of the origin's route. It marks what this export owns."""
OWNED = (
    "operationId",
    "tags",
    "summary",
    "description",
    "deprecated",
    "parameters",
    "requestBody",
    "responses",
    SCOPES,
)
"""The members of an operation that an export updates. All others belong to the gateway."""
NEVER = {"Health": "health checks are for the origin's own platform", "OpenApi": "the developer portal has its own"}
"""Groups of routes that are not exported, and why."""
MATCHES_SLASHES = r"^(.*)$"
_PARAMETER = re.compile(r"\{[^{}]*\}")
_OF_PATTERN = re.compile(r":\w+|\(\.\*\)|\*")
"""The parameters of a path of the gateway whose ``pathMode`` is ``url-pattern``."""


@dataclass(frozen=True)
class Gateway:
    """The gateway's side: how it authenticates callers, and what it sends to this origin.

    ``audience`` is the ``aud`` of the tokens; with ``None`` the gateway uses the URL of each request. ``header`` and
    ``prefix`` are the header and the scheme of the token. ``secret_header`` is the header of ``GATEWAY_SECRET``,
    ``None`` without one. With ``identity_provider`` (issuer, audience, URL of its key set), the token of an identity
    provider passes through the gateway; otherwise the gateway authenticates callers by API key and signs a token.
    ``required`` are claims that the origin requires of every token, and ``scope_claim`` is where it looks up scopes.
    """

    title: str
    version: str
    audience: str | None
    header: str = "Authorization"
    prefix: str = "Bearer"
    secret_header: str | None = None
    identity_provider: tuple[str, str | None, str] | None = None
    required: tuple[Requirement, ...] = ()
    scope_claim: str = "scope"

    def inbound(self, operation: Operation) -> list[str]:
        """Return the names of the inbound policies of an exported route."""
        names = []
        if operation.is_guarded:
            names = [AUTHENTICATE_USER] if self.identity_provider else [AUTHENTICATE, SIGN]
            if not self.identity_provider and self.header.lower() != "authorization":
                names.append(REMOVE_KEY)  # otherwise the token replaces the key
        return names + ([ADD_SECRET] if self.secret_header else [])

    def requirements(self, exported: list[Operation]) -> list[tuple[str, Requirement]]:
        """Return the claims that the origin reads of tokens that the gateway signs, each with the name of the route."""
        if self.identity_provider is not None:
            return []
        found = [("all routes", each) for each in self.required]
        for operation in exported:
            name = _name(operation.method, operation.path)
            found += [(name, each) for each in gateway_claims.requirements_of(operation)]
        return found

    def copied(self, exported: list[Operation]) -> dict[str, str]:
        """Return the claims that the signing policy must copy for these routes, each with its selector."""
        required = [each for _, each in self.requirements(exported)]
        if self.scope_claim != "scope" and any(operation.scopes for operation in exported):
            required.append(Requirement(self.scope_claim))
        return gateway_claims.selectors(required)

    def policy(self, name: str, claims: dict[str, str]) -> dict[str, Any]:
        """Return the entry of a policy in ``policies.json``. ``claims`` are to be copied, each with its selector."""
        return {
            AUTHENTICATE: self._authenticate,
            AUTHENTICATE_USER: self._authenticate_user,
            SIGN: lambda: self._sign(claims),
            REMOVE_KEY: self._remove_key,
            ADD_SECRET: self._add_secret,
        }[name]()

    def _authenticate(self) -> dict[str, Any]:
        options = {"allowUnauthenticatedRequests": False, "cacheTtlSeconds": 60}
        return _policy(AUTHENTICATE, "api-key-inbound", "ApiKeyInboundPolicy", options)

    def _authenticate_user(self) -> dict[str, Any]:
        issuer, audience, url = self.identity_provider or ("", None, "")
        options = {"issuer": issuer, "jwkUrl": url, "allowUnauthenticatedRequests": False}
        options |= {"audience": audience} if audience else {}
        options |= {"authHeader": self.header} if self.header.lower() != "authorization" else {}
        return _policy(AUTHENTICATE_USER, "open-id-jwt-auth-inbound", "OpenIdJwtInboundPolicy", options)

    def _sign(self, claims: dict[str, str]) -> dict[str, Any]:
        options: dict[str, Any] = {"audience": self.audience} if self.audience else {}
        options |= {"headerName": self.header, "tokenPrefix": self.prefix, "expiresIn": 300}
        options["claimsFromUser"] = {"scope": "data.scope", "roles": "data.roles"} | claims
        return _policy(SIGN, SIGN_TYPE, "UpstreamZuploJwtAuthInboundPolicy", options)

    def _remove_key(self) -> dict[str, Any]:
        """Return the policy that keeps the API key from the origin: `api-key-inbound` passes it on."""
        options = {"headers": ["authorization"]}
        return _policy(REMOVE_KEY, "remove-headers-inbound", "RemoveHeadersInboundPolicy", options)

    def _add_secret(self) -> dict[str, Any]:
        options = {"headers": [{"name": self.secret_header, "value": "$env(BACKEND_SECRET)", "overwrite": True}]}
        return _policy(ADD_SECRET, "set-headers-inbound", "SetHeadersInboundPolicy", options)


@dataclass
class Export:
    """The result of an export. ``files`` has the new text of each file that changes, by its path."""

    files: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    parts: list[tuple[str, str]] = field(default_factory=list)
    """Policies that are added, and shared parts of the description that are updated, each with its verb."""
    removed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Operations of the gateway that the origin no longer has, and that are kept."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Operations of the origin that are not exported, each with the reason."""
    warnings: list[str] = field(default_factory=list)


def reason_to_leave_out(operation: Operation, with_public: bool) -> str | None:
    """Return why ``operation`` is not exported; ``None`` if it is."""
    if operation.group in NEVER:
        return NEVER[operation.group]
    if any(each["schema"].get("pattern") == MATCHES_SLASHES for each in operation.parameters):
        return "its last parameter matches slashes, which OpenAPI cannot describe: add it to the gateway by hand"
    if operation.is_guarded or (operation.is_public and with_public):
        return None
    if operation.is_public:
        return "it is public: export it with --public"
    return 'it has neither .middleware("jwt") nor .middleware("public")'


def export(
    found: list[Operation], gateway: Gateway, folder: Path, with_public: bool = False, prune: bool = False
) -> Export:
    """Return the changes that make the project in ``folder`` forward the operations ``found`` to this origin.

    Nothing is written. Raises ``OSError`` or ``ValueError``, which name the file, if one of those that are updated
    cannot be read, or is not what it should be.
    """
    made = Export()
    exported = []
    for operation in found:
        reason = reason_to_leave_out(operation, with_public)
        if reason is None:
            exported.append(operation)
        else:
            made.left_out.append((_name(operation.method, operation.path), reason))
    existing = {path: read(folder, path) for path in (ROUTES, POLICIES)}
    new = {ROUTES: gateway_files.routes(gateway.title, gateway.version), POLICIES: {"policies": []}}
    edited = {path: _parsed(folder / path, existing[path] or _json(new[path])) for path in existing}
    _update_routes(edited[ROUTES], exported, gateway, made, prune)
    _update_policies(edited[POLICIES], exported, gateway, made)
    made.files = {path: each.text for path, each in edited.items() if existing[path] != each.text}
    provider = gateway.identity_provider
    others = gateway_files.others(
        gateway.title,
        gateway.version,
        _settings(gateway),
        [(each.method.upper(), each.path) for each in exported if each.is_guarded and not each.parameters],
        (gateway.header, gateway.prefix) if provider else None,
        slug(gateway.title),
        SIGN,
        gateway.requirements(exported),
        gateway.scope_claim,
        sorted({scope for each in exported for scope in each.scopes or ()}),
    )
    made.files |= {path: text for path, text in others.items() if not os.path.lexists(folder / path)}
    for path in made.files:
        _check_folder(folder, path)
    return made


def read(folder: Path, path: str) -> str | None:
    """Return the text of a file of the project; ``None`` if it does not exist.

    Raises ``OSError`` or ``ValueError``, which name the file, if it cannot be read.
    """
    file = folder / path
    if not os.path.lexists(file):
        return None
    if file.is_symlink() or not file.is_file():
        raise ValueError(f"{file}: it is not a regular file")
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: it is not UTF-8") from None


def _check_folder(folder: Path, path: str) -> None:
    """Raise ``ValueError`` if the file has no folder to be in, or a symbolic link leads out of ``folder``."""
    parent = (folder / path).parent
    for each in (parent, *parent.parents):
        if os.path.lexists(each) and not each.is_dir():
            raise ValueError(f"{each}: it is not a folder")
    if not parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{parent}: it is a symbolic link that leads out of {folder}")


def _parsed(file: Path, text: str) -> JsonText:
    try:
        parsed = JsonText(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {error}") from None
    value = parsed.value
    if file.name == Path(POLICIES).name:
        if not isinstance(value.get("policies", []), list):
            raise ValueError(f"{file}: its member 'policies' is not an array")
    elif not isinstance(value.get("paths", {}), dict) or not all(
        isinstance(each, dict) for each in (*value.get("paths", {}).values(), value.get("components", {}))
    ):
        raise ValueError(f"{file}: it is not an OpenAPI document: a path or 'components' is not an object")
    return parsed


def _update_routes(text: JsonText, exported: list[Operation], gateway: Gateway, made: Export, prune: bool) -> None:
    paths, components = described(exported)
    present = {(path, method) for path, method, _ in _operations(text)}
    for operation in exported:
        at = ["paths", operation.path, operation.method]
        new = _described(operation, paths[operation.path][operation.method])
        if (operation.path, operation.method) not in present:
            if text.get(at[:2]) is MISSING:
                _add_path(text, operation.path)
            text.set(at, new | {"x-zuplo-route": _route(gateway.inbound(operation))})
            made.added.append(_name(operation.method, operation.path))
            continue
        changed = []
        for name in OWNED:
            before = text.text
            if name in new:
                text.update([*at, name], new[name])
            else:
                text.remove([*at, name])
            if text.text != before:
                changed.append(name)
        if changed:
            made.updated.append(f"{_name(operation.method, operation.path)}: {', '.join(changed)}")
        _warn_of_policies(text.get(at), operation, gateway, made)
    _warn_of_order(text, exported, made)
    _remove_routes(text, {(each.path, each.method) for each in exported}, made, prune)
    _add_tags(text, exported, made)
    if gateway.identity_provider is None:
        components["responses"] |= _errors_of_the_gateway(components["responses"])
    for kind, shared in components.items():
        for name, each in shared.items():
            at, before = ["components", kind, name], text.text
            is_new = text.get(at) is MISSING
            text.update(at, each)
            if text.text != before and not is_new:
                made.parts.append(("update", f"components/{kind}/{name}"))


def _add_tags(text: JsonText, exported: list[Operation], made: Export) -> None:
    """Add the tags that the exported operations have. Those that exist are the gateway's."""
    present = text.value.get("tags", [])
    if not isinstance(present, list):
        return
    names = {each.get("name") for each in present if isinstance(each, dict)}
    for tag in tags(exported):
        if tag["name"] not in names:
            text.append(["tags"], tag)


def _errors_of_the_gateway(responses: dict[str, Any]) -> dict[str, Any]:
    """Return what differs for callers of a gateway that authenticates them: a token is no concern of theirs."""
    made = {}
    if "400" in responses:
        content = {JSON: {"schema": {"$ref": f"#/components/schemas/{ERROR}"}}}
        made["400"] = responses["400"] | {"content": content}
    if "401" in responses:
        schema = {
            "type": "object",
            "properties": {"status": {"type": "integer"}, "title": {"type": "string"}, "detail": {"type": "string"}},
        }
        example = {"status": 401, "title": "Unauthorized", "detail": "No Authorization Header"}
        made["401"] = {
            "description": "The API key is missing or invalid.",
            "content": {"application/problem+json": {"schema": schema, "example": example}},
        }
    return made


def _add_path(text: JsonText, path: str) -> None:
    """Add ``path`` in front of the first path that takes its requests: the gateway uses the first route that matches.

    Without this, ``/orders/{id}`` would take the requests of ``/orders/export``, with its own policies.
    """
    paths, entry = text.value.get("paths", {}), {"x-zuplo-path": {"pathMode": "open-api"}}
    for other in paths:
        if _takes(other, path, paths):
            text.insert(["paths", path], entry, other)
            return
    text.set(["paths", path], entry)


def _takes(one: str, other: str, paths: dict[str, Any]) -> bool:
    """Return whether the path ``one`` of the gateway matches all that the path ``other`` matches, and more."""
    entry = paths.get(one)
    mode = entry.get("x-zuplo-path") if isinstance(entry, dict) else None
    is_pattern = isinstance(mode, dict) and mode.get("pathMode") == "url-pattern"
    variable = _OF_PATTERN if is_pattern else _PARAMETER
    wider = "".join(
        (".*" if "*" in part else "[^/]+") if variable.fullmatch(part) else re.escape(part)
        for part in re.split(f"({variable.pattern})", one)
    )
    narrower = "[^/]+".join(re.escape(part) for part in _PARAMETER.split(other))
    return bool(re.fullmatch(wider, _PARAMETER.sub("{}", other))) and not re.fullmatch(
        narrower, variable.sub("{}", one)
    )


def _warn_of_order(text: JsonText, exported: list[Operation], made: Export) -> None:
    """Warn of a route whose requests an earlier route of the gateway takes."""
    paths, operations = text.value.get("paths", {}), _operations(text)
    for operation in exported:
        for path, method, _ in operations:
            if path == operation.path:
                break
            if method == operation.method and _takes(path, operation.path, paths):
                name = _name(method, operation.path)
                made.warnings.append(
                    f"{name} comes after {path}, which takes its requests: move it in front of that path"
                )
                break


def _described(operation: Operation, origin: dict[str, Any]) -> dict[str, Any]:
    """Return the members of an operation that an export owns."""
    made = {name: origin[name] for name in OWNED if name in origin}
    paragraphs = [operation.description] if operation.description else []
    if operation.scopes:
        paragraphs.append(f"Requires the scope {' '.join(f'`{scope}`' for scope in operation.scopes)}.")
    for each in gateway_claims.requirements_of(operation):
        if not each.is_required or (each.accepted == () and each.claim in gateway_claims.REGISTERED):
            continue  # each token has the registered ones
        paragraphs.append(f"Requires the claim `{each.path}`" + (f": {each.values}." if each.accepted != () else "."))
    if paragraphs:
        made["description"] = "\n\n".join(dict.fromkeys(paragraphs))
    return made | {SCOPES: list(operation.scopes or ())}


def _operations(text: JsonText) -> list[tuple[str, str, dict[str, Any]]]:
    """Return path, method and value of each operation of the gateway."""
    return [
        (path, method, each)
        for path, entry in text.value.get("paths", {}).items()
        if isinstance(entry, dict)
        for method, each in entry.items()
        if isinstance(each, dict) and not method.startswith("x-")
    ]


def _remove_routes(text: JsonText, exported: set[tuple[str, str]], made: Export, prune: bool) -> None:
    for path, method, each in _operations(text):
        if SCOPES not in each or (path, method) in exported:
            continue
        if not prune:
            made.gone.append(_name(method, path))
            continue
        text.remove(["paths", path, method])
        made.removed.append(_name(method, path))
        if not [name for name in text.get(["paths", path]) if not name.startswith("x-")]:
            text.remove(["paths", path])


def _warn_of_policies(present: dict[str, Any], operation: Operation, gateway: Gateway, made: Export) -> None:
    """Warn of a route of the gateway that lacks a policy, without which the origin rejects its requests."""
    route = present.get("x-zuplo-route")
    policies = route.get("policies") if isinstance(route, dict) else None
    inbound = policies.get("inbound") if isinstance(policies, dict) else None
    lacking = [name for name in gateway.inbound(operation) if name not in (inbound or [])]
    if lacking:
        named = ", ".join(lacking)
        made.warnings.append(f"{_name(operation.method, operation.path)} has no policy {named}: is that meant?")


def _update_policies(text: JsonText, exported: list[Operation], gateway: Gateway, made: Export) -> None:
    """Add the policies that the exported routes name. Those that exist are the gateway's, but for missing claims."""
    present = {each.get("name"): at for at, each in enumerate(text.value.get("policies", [])) if isinstance(each, dict)}
    names = dict.fromkeys(name for operation in exported for name in gateway.inbound(operation))
    claims = gateway.copied(exported)
    for name in names:
        if name not in present:
            text.append(["policies"], gateway.policy(name, claims))
            made.parts.append(("add", f"policy {name}"))
        elif name == SIGN:
            _add_claims(text, present[name], claims, made)


def _add_claims(text: JsonText, at: int, claims: dict[str, str], made: Export) -> None:
    """Add the required claims that the policy ``at`` this place does not set. Those that it sets are the gateway's.

    A policy without ``claimsFromUser`` gets a warning instead: with it, the gateway rejects callers that it does not
    authenticate.
    """
    path: list[str | int] = ["policies", at, "handler", "options"]
    if text.get(["policies", at, "policyType"]) != SIGN_TYPE:
        return  # a policy of the gateway's own, which may set any claim
    copied, fixed = text.get([*path, "claimsFromUser"]), text.get([*path, "additionalClaims"])
    for claim, selector in claims.items():
        if any(isinstance(each, dict) and claim in each for each in (copied, fixed)):
            continue
        if isinstance(copied, dict):
            text.set([*path, "claimsFromUser", claim], selector)
            made.parts.append(("update", f"policy {SIGN}: it copies the claim {claim} from a consumer's metadata"))
        else:
            made.warnings.append(f"policy {SIGN} has no claimsFromUser, and so no claim {claim}: is that meant?")


def _route(inbound: list[str]) -> dict[str, Any]:
    return {
        "corsPolicy": "none",
        "handler": {
            "export": "urlForwardHandler",
            "module": "$import(@zuplo/runtime)",
            "options": {"baseUrl": "$env(ORIGIN_URL)"},
        },
        "policies": {"inbound": inbound},
    }


def _settings(gateway: Gateway) -> list[tuple[str, str, str]]:
    """Return where each variable is set, its name and its value, for the gateway's README."""
    rows = [("this project's environment", "ORIGIN_URL", "https://<host of the origin>")]
    if gateway.identity_provider is None:
        audience = gateway.audience or "https://<host of the gateway>/*"
        rows.append(("the origin", "JWT_ISSUER", "https://<host of the gateway>/__zuplo/issuer"))
        rows.append(("the origin", "JWT_AUDIENCE", audience))
    if gateway.secret_header:
        rows.append(("this project's environment, as a secret", "BACKEND_SECRET", "the value of GATEWAY_SECRET"))
    return rows


def _policy(name: str, kind: str, handler: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "policyType": kind,
        "handler": {"export": handler, "module": "$import(@zuplo/runtime)", "options": options},
    }


def _name(method: str, path: str) -> str:
    return f"{method.upper()} {path}"


def slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-") or "origin"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
