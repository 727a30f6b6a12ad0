"""Strangers' words, made safe to print."""

import re

_UNPRINTABLE = re.compile("[^!-~]")


def printable(text: str | None, longest: int = 64) -> str:
    """Return ``text`` as one word of printable ASCII, ``longest`` characters at the most; ``-`` for none."""
    return _UNPRINTABLE.sub("?", (text or "-")[:longest])
