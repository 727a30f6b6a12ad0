"""Cross-origin requests: the middleware ``CorsMiddleware`` (``CORS`` in ``config/security.py``)."""

import re
from typing import Any

from masonite.cors import Cors
from masonite.middleware import CorsMiddleware as MasoniteCorsMiddleware

from .start import configured, is_server, stop

DEFAULTS: dict[str, Any] = {
    "paths": [],
    "allowed_methods": [],
    "allowed_origins": [],
    "allowed_headers": [],
    "exposed_headers": [],
    "max_age": None,
    "supports_credentials": False,
}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@,]+|null")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{1,4096}")


def problems_of(options: Any) -> list[str]:
    """Return a sentence for each fault of ``CORS`` in ``config/security.py``."""
    place = "config/security.py: CORS"
    if not isinstance(options, dict):
        return [f"{place}: not set; CorsMiddleware needs a dict with paths, allowed_origins and others"]
    found = [f"{place}: unknown option {name!r}; expected {', '.join(DEFAULTS)}" for name in options.keys() - DEFAULTS]
    for name in ("paths", "allowed_methods", "allowed_origins", "allowed_headers", "exposed_headers"):
        values = options.get(name, [])
        if not isinstance(values, (list, tuple)) or not all(isinstance(each, str) for each in values):
            found.append(f"{place}: {name}: invalid value {values!r}; expected a list of strings")
    if found:
        return found
    for origin in options.get("allowed_origins", []):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            found.append(f"{place}: allowed_origins: invalid value {origin!r}; expected scheme://host, without a path")
    if options.get("supports_credentials") and "*" in options.get("allowed_origins", []):
        found.append(f"{place}: supports_credentials: expected a list of origins instead of '*'")
    return found


class CorsMiddleware(MasoniteCorsMiddleware):
    """Registered among ``http_middleware`` of the Kernel: it responds to preflight requests, before routes and guards.

    Other responses to these paths get the headers too, those of errors included.
    """

    @classmethod
    def at_start(cls, application: Any) -> None:
        """Bind ``cors``. Exit if ``CORS`` in ``config/security.py`` is invalid."""
        options = configured(application, "security.cors")
        if is_server(application):
            stop(problems_of(options))
        if isinstance(options, dict):
            application.bind("cors", Cors(application, {**DEFAULTS, **options}))

    def before(self, request: Any, response: Any) -> Any:
        cors = request.app.make("cors")
        if not (_is_preflight(request) and self.match_paths(request, cors)):
            return request
        cors.set_allowed_origin(request, response.status(204))
        for name in ("Access-Control-Request-Method", "Access-Control-Request-Headers"):
            cors.update_vary_header(response, name)
        if response.header("Access-Control-Allow-Origin"):
            cors.set_allowed_credentials(response)
            cors.set_allowed_methods(request, response)
            if _TOKENS.fullmatch(request.header("Access-Control-Request-Headers") or "") or not cors.allow_all_headers:
                cors.set_allowed_headers(request, response)
            cors.set_max_age(response)
        return response

    def after(self, request: Any, response: Any) -> Any:
        cors = request.app.make("cors")
        if not _is_preflight(request) and self.match_paths(request, cors):
            cors.add_actual_request_headers(request, response)
        return request


def _is_preflight(request: Any) -> bool:
    method = request.header("Access-Control-Request-Method")
    return request.get_request_method() == "OPTIONS" and bool(method and _TOKEN.fullmatch(method))
