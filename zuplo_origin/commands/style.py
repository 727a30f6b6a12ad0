"""The look of the commands in a terminal: colours, and lines of progress.

``NO_COLOR`` (no-color.org) switches colours off, ``FORCE_COLOR`` (force-color.org) on; otherwise a terminal has them,
and a pipe has none. ``--ansi`` and ``--no-ansi`` of a command override all of them.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cleo.io.outputs.stream_output import StreamOutput

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "error": "1;31"}
"""Name to parameters of SGR (ECMA-48, section 8.3.117)."""
MARK_STYLES = {True: "green", False: "red", None: "dim"}


def is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # closed
        return False


def has_colours(stream: Any) -> bool:
    """Return whether text for ``stream`` may have colours."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "").lower() not in ("", "0", "false"):
        return True
    return is_terminal(stream)


def is_styled(stream: Any) -> bool:
    """Return whether ``stream`` is read by a person: a terminal, with colours or without, or ``FORCE_COLOR``."""
    return is_terminal(stream) or has_colours(stream)


def outputs() -> tuple[StreamOutput, StreamOutput]:
    """Return cleo's outputs for standard output and standard error."""
    made = StreamOutput(sys.stdout), StreamOutput(sys.stderr)
    for output in made:
        output.decorated(has_colours(output.stream))  # cleo does not know FORCE_COLOR and TERM
    return made


_CONTROL = re.compile(r"[^\n -~]+")


def visible(text: str) -> str:
    """Return ``text`` with every character escaped that a terminal obeys or does not show, except line feeds.

    Text of a client or a token may have ANSI sequences, which hide or imitate lines, and marks that reverse it.
    """
    return _CONTROL.sub(lambda found: "".join(c if c.isprintable() else ascii(c)[1:-1] for c in found[0]), text)


class Painter:
    """Paints text if ``enabled``, and makes it visible either way."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def __call__(self, text: object, *styles: str) -> str:
        shown = visible(str(text))
        if not (self.enabled and styles and shown):
            return shown
        return f"\x1b[{';'.join(STYLES[style] for style in styles)}m{shown}\x1b[0m"


@contextmanager
def progress(stream: Any, text: str) -> Iterator[None]:
    """Show ``text`` on the terminal ``stream`` while the block runs, and remove it at the end. A pipe gets nothing."""
    shown = is_terminal(stream)
    if shown:
        stream.write(Painter(has_colours(stream))(f"{text} …", "dim"))
        stream.flush()
    try:
        yield
    finally:
        if shown:
            stream.write("\r\x1b[K")
            stream.flush()
