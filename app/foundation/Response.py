"""A response that can be sent."""

import json
import re
from typing import Any

from masonite.response import Response as MasoniteResponse

from .Cookies import Cookies
from .Headers import Headers

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Response(MasoniteResponse):
    """Masonite's response, with header names as they were given, and JSON that every parser takes."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.header_bag = Headers()
        self.cookie_jar = Cookies()

    def json(self, payload: Any, status: Any = 200) -> bytes:
        """Answer with ``payload`` as JSON; ``ValueError`` where JSON has no such value (``NaN``, a lone surrogate)."""
        self.content = json.dumps(payload, ensure_ascii=False, allow_nan=False).encode("utf-8")
        self.make_headers(content_type="application/json; charset=utf-8")
        self.status(status)
        return self.data()  # type: ignore[no-any-return]

    def get_headers(self) -> list[tuple[str, str]]:
        """Return the headers, cookies included; ``ValueError`` where one could split the response in two."""
        headers = [*self.header_bag.render(), *self.cookie_jar.render_response()]
        for name, value in headers:
            if _CONTROL.search(name) or _CONTROL.search(value):
                raise ValueError("a control character in a header of the response")
        return headers
