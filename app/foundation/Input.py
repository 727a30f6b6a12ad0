"""Query string and body: read when a controller asks for them, within limits."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from masonite.input import InputBag

from app.encoding import strict_json
from app.exceptions.HttpException import HttpException

from .body import read_body

MAX_QUERY_FIELDS = 100


class Input(InputBag):
    """What a client sent, as one mapping: the members of its JSON body over the fields of its query string.

    A field that occurs once is a string, one that occurs several times a list of strings. A body is a JSON object in
    UTF-8 (RFC 8259), at most 1 MiB.

    Raises ``HttpException``: 400 for a body that is not such an object, or more than 100 fields; 413 for a larger
    body; 415 for one of another type.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__()
        self.environ = environ
        try:
            query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise HttpException(400) from None
        self.query_string = {name: values[0] if len(values) == 1 else values for name, values in query.items()}
        self.post_data = _json_object(environ)

    def get(self, name: str, default: Any = None, clean: bool = True, quote: bool = True) -> Any:
        """Return the value of ``name``, or of the path ``a.b.c`` into nested objects, or ``default``."""
        values = self.all()
        if name in values:
            return values[name]
        found: Any = values
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                return default
            found = found[part]
        return found


def _json_object(environ: Mapping[str, Any]) -> dict[str, Any]:
    body = read_body(environ)
    if not body:
        return {}
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpException(415)
    try:
        value = strict_json.loads(body)
    except ValueError:
        raise HttpException(400) from None
    if not isinstance(value, dict) or strict_json.has_nonfinite(value):
        raise HttpException(400)
    return value
