"""Taking the token out of a header (RFC 6750, section 2.1)."""

import re

from app.jwt.parsing import MAX_LENGTH
from app.jwt.reasons import Reason, Refused


def token_from(value: str | None, scheme: str) -> str:
    """Return the token in ``value``, a header field of the form ``scheme token``; with an empty scheme, ``token``.

    A server joins several fields of one name with commas, which no token holds: that is how they are noticed.

    Raises ``Refused``: ``NO_TOKEN`` where there is none, or another scheme's credentials; ``SEVERAL_TOKENS``;
    ``TOO_LARGE`` where the field is larger than any token; ``MALFORMED`` where more than one blank stands before it.
    """
    field = (value or "").strip(" \t")
    if len(field) > MAX_LENGTH + len(scheme) + 1:
        raise Refused(Reason.TOO_LARGE)
    if "," in field:
        ours = not scheme or any(_has_scheme(part.strip(" \t"), scheme) for part in field.split(","))
        raise Refused(Reason.SEVERAL_TOKENS if ours else Reason.NO_TOKEN)
    if scheme:
        if not _has_scheme(field, scheme):
            raise Refused(Reason.NO_TOKEN)
        field = field[len(scheme) + 1 :]
    if not field:
        raise Refused(Reason.NO_TOKEN)
    if " " in field or "\t" in field:
        words = [word for word in re.split("[ \t]", field) if word]
        raise Refused(Reason.SEVERAL_TOKENS if len(words) > 1 else Reason.MALFORMED)
    return field


def _has_scheme(field: str, scheme: str) -> bool:
    """Whether ``field`` is of ``scheme``, in any case, with or without a token behind it."""
    length = len(scheme)
    return field[:length].lower() == scheme.lower() and field[length : length + 1] in ("", " ")
