"""Helpers: URLs of this API, and ``compact``."""

import builtins
import inspect
import sys
from typing import Any
from urllib.parse import urlencode, urlsplit

from masonite.helpers import UrlsHelper as MasoniteUrlsHelper

from zuplo_origin.http.kernel import Provider


class UrlsHelper(MasoniteUrlsHelper):
    """Masonite's ``url``: the base is ``PUBLIC_URL``, or ``APP_URL`` in ``config/application.py``."""

    def url(self, path: str = "", query_params: Any = None) -> str:
        config = self.app.make("config")
        public = self.app.make("settings").public_url if self.app.has("settings") else None
        base = (public or config.get("application.app_url") or "").rstrip("/")
        found = f"{base}/{path.lstrip('/')}"
        if query_params:
            found += ("&" if urlsplit(found).query else "?") + urlencode(query_params)
        return found


def compact(*values: Any) -> dict[str, Any]:
    """Return the caller's variables that have these values, by name, as Masonite's ``compact``.

    Masonite's keeps the dict in its class: threads that call it at once get each other's values.
    """
    frame = inspect.currentframe()
    return _compact(frame.f_back.f_locals if frame and frame.f_back else {}, values)


def _compact(variables: dict[str, Any], values: Any) -> dict[str, Any]:
    found = {name: value for wanted in values for name, value in variables.items() if value is wanted}
    if len(found) != len(values):
        raise ValueError("Could not find all variables in this")
    return found


class HelpersProvider(Provider):
    """Binds ``url``, and adds Masonite's builtins ``resolve`` and ``container``."""

    def register(self) -> None:
        self.application.bind("url", UrlsHelper(self.application))
        builtins.resolve = self.application.resolve  # type: ignore[attr-defined]
        builtins.container = lambda: self.application  # type: ignore[attr-defined]


def mend_compact() -> None:
    """Replace Masonite's ``compact``, if it is imported, for all that have imported it."""
    module = sys.modules.get("masonite.helpers.compact")
    if module is not None:

        def create(_: Any, *values: Any) -> dict[str, Any]:
            frame = inspect.currentframe()
            return _compact(frame.f_back.f_locals if frame and frame.f_back else {}, values)

        module.__dict__["Compact"].__new__ = create
