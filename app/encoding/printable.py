"""Strangers' words, made safe to print."""


def printable(text: str | None, longest: int = 64) -> str:
    """Return ``text`` as one word of printable ASCII, ``longest`` characters at the most; ``-`` for none."""
    return "".join(c if "!" <= c <= "~" else "?" for c in (text or "-")[:longest])
