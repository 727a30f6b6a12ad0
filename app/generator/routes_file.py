"""Adding a route to ``routes/web.py``: at the end of its list, with its import among the others."""

import ast
import re


class UnknownForm(ValueError):
    """The file is not written as expected: there is nothing to add to."""


def with_route(text: str, imported: str, route: str) -> str:
    """Return ``text``, the file, with the line ``imported`` and the route ``route`` added.

    Raises ``UnknownForm`` where it has no list ``ROUTES = [``, closed on a line of its own, or no import of a
    controller to stand beside.
    """
    lines = text.splitlines()
    imports = [number for number, line in enumerate(lines) if re.match(r"from app\.controllers\.\w+ import ", line)]
    begin = next((number for number, line in enumerate(lines) if re.fullmatch(r"ROUTES = \[\s*", line)), None)
    if not imports:
        raise UnknownForm("no line of it imports a controller: from app.controllers.…")
    if begin is None:
        raise UnknownForm("it has no line ROUTES = [ with a route a line behind it")
    end = next((number for number in range(begin, len(lines)) if lines[number].rstrip() == "]"), None)
    if end is None:
        raise UnknownForm("its ROUTES end on no line of their own")
    lines.insert(end, f"    {route}")
    behind = [number for number in imports if lines[number] < imported]
    lines.insert(behind[-1] + 1 if behind else imports[0], imported)
    added = "\n".join(lines) + "\n"
    try:
        ast.parse(added)
    except SyntaxError:
        raise UnknownForm("one more line would break it: does its last route end with a comma?") from None
    return added
