"""Write the parts of the reference pages that are made from the code: ``python .ci/reference.py [--check]``.

A part is between ``<!-- reference: NAME -->`` and ``<!-- /reference -->``. In the tables of ``docs/settings.md``, the
default and the range of each setting are made, and its meaning is kept. With ``--check``, prints the differences
instead, and exits with 1 if there are any.
"""

import difflib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cleo.application import Application as CommandApplication  # noqa: E402
from masonite.commands import CommandCapsule  # noqa: E402

from zuplo_origin import openapi  # noqa: E402
from zuplo_origin.commands import register_commands  # noqa: E402
from zuplo_origin.commands.examples import examples_of  # noqa: E402
from zuplo_origin.guard import ERROR_RESPONSES  # noqa: E402
from zuplo_origin.http.application import Application  # noqa: E402
from zuplo_origin.http.kernel import FrameworkKernel  # noqa: E402
from zuplo_origin.observability.metrics import Metrics, ages  # noqa: E402
from zuplo_origin.settings import SETTINGS  # noqa: E402

COMPUTED = ("JWT_REALM", "JWKS_URL", "UPLOAD_DIR")
"""Settings whose default depends on others: the page explains it."""


def table(*rows: tuple[str, ...]) -> str:
    """Return a Markdown table; the first of ``rows`` are its headings."""
    lines = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |".replace("|  |", "| |") for row in rows
    ]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def code(text: str) -> str:
    """Return the text of a docstring in Markdown, which has code in single backticks."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)


# -- settings ----------------------------------------------------------------------------------------------------------

_ROW = re.compile(r"^\| `([A-Z_0-9]+)` \| (.*?) \| (.*?) \| (.+) \|$", re.MULTILINE)


def settings_page(text: str) -> str:
    def row(match: re.Match[str]) -> str:
        name, default, values, meaning = match.groups()
        if name not in SETTINGS:
            return match[0] if name == "ENV_FILE" else ""
        setting = SETTINGS[name]
        if name not in COMPUTED:
            default = f"`{setting.default}`" if setting.default else "none"
        return f"| `{name}` | {default} | {expected_by(setting.read) or values} | {meaning} |"

    missing = set(SETTINGS) - {match[1] for match in _ROW.finditer(text)}
    if missing:
        raise SystemExit(f"docs/settings.md: add a row with the meaning of {', '.join(sorted(missing))}")
    return _ROW.sub(row, text)


def expected_by(read: Callable[[str], Any]) -> str | None:
    """Return the range of a setting that is a number or a boolean, from the message for an invalid value."""
    try:
        read("?")
    except ValueError as error:
        found = re.fullmatch(r"a (?:whole )?number from (\S+ to \S+)", str(error))
        return found[1] if found else "`True`, `False`" if str(error) == "True or False" else None
    return None


# -- the other pages ---------------------------------------------------------------------------------------------------


def reasons() -> str:
    rows = [
        (f"`{reason.value}`", str(each.status), each.error, each.details or "")
        for reason, each in ERROR_RESPONSES.items()
    ]
    return table(("reason in log and metrics", "status", "`error`", "`details`"), *rows)


def metrics() -> str:
    rows = []
    for metric in [*Metrics().registry._collector_to_names, *ages()]:
        kind, labels = metric._type if hasattr(metric, "_type") else metric.type, metric._labelnames
        name = (metric._name if hasattr(metric, "_name") else metric.name) + ("_total" if kind == "counter" else "")
        meaning = metric._documentation if hasattr(metric, "_documentation") else metric.documentation
        rows.append((f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), code(meaning).rstrip(".")))
    return table(("metric", "type", "labels", "meaning"), *rows)


def all_commands() -> list[Any]:
    application = Application(str(ROOT))
    application.register_providers(FrameworkKernel)
    capsule = CommandCapsule(CommandApplication("craft", ""))
    application.bind("commands", capsule)
    register_commands(application)
    return sorted(capsule.commands, key=lambda command: command.name)


def is_ours(command: Any) -> bool:
    return type(command).__module__.startswith("zuplo_origin")


def commands() -> str:
    return "\n\n".join(described(command) for command in all_commands() if is_ours(command))


def described(command: Any) -> str:
    usage = f"python craft {command.synopsis(True)}".replace(" [--]", "")
    parts = [f"### {command.name}", f"{command.description}.", f"```text\n{usage}\n```"]
    rows = [(f"`{argument.name}`", "", argument.description) for argument in command.definition.arguments]
    for option in command.definition.options:
        short = f"`-{option.shortcut}`, " if option.shortcut else ""
        default = f"`{option.default}`" if option.default not in (None, "", [], False) else ""
        rows.append((f"{short}`--{option.name}`", default, option.description or ""))
    if rows:
        parts.append(table(("argument or option", "default", "meaning"), *rows))
    parts.append("```text\n" + "\n".join(examples_of(command.name)) + "\n```")
    return "\n\n".join(parts)


def stock_commands() -> str:
    rows = [
        (f"`{each.name}`", each.description.rstrip("."), f"`{examples_of(each.name)[0]}`")
        for each in all_commands()
        if not is_ours(each)
    ]
    return table(("command", "does", "example"), *rows)


def decorators() -> str:
    parts = []
    for name in openapi.__all__:
        function = getattr(openapi, name)
        signature = inspect.signature(function).replace(return_annotation=inspect.Signature.empty)
        parameters = str(signature).replace("typing.", "").replace("collections.abc.", "")
        text = code(inspect.getdoc(function) or "")
        parts += [f"## @{name}", f"```text\nfrom zuplo_origin.openapi import {name}\n\n@{name}{parameters}\n```", text]
    return "\n\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {
    "reasons": reasons,
    "metrics": metrics,
    "commands": commands,
    "stock commands": stock_commands,
    "decorators": decorators,
}
PAGES = ("settings", "errors", "logs-and-metrics", "commands", "decorators")
_PART = re.compile(r"(<!-- reference: ([a-z ]+) -->\n).*?(<!-- /reference -->)", re.DOTALL)


def refreshed(name: str, text: str) -> str:
    if name == "settings":
        return settings_page(text)
    return _PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n\n{match[3]}", text)


def main() -> int:
    status = 0
    for name in PAGES:
        page = ROOT / "docs" / f"{name}.md"
        before = page.read_text(encoding="utf-8")
        after = refreshed(name, before)
        if "--check" not in sys.argv:
            page.write_text(after, encoding="utf-8")
        elif after != before:
            status = 1
            lines = difflib.unified_diff(
                before.splitlines(), after.splitlines(), str(page), "make reference", lineterm=""
            )
            print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
