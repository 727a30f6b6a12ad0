"""Find terms that this project does not use, and docstrings that open with a question word.

``python .ci/language.py [FILE …]`` prints each finding, and exits with 1 if there is one. Without files, it reads
those in ``FOLDERS`` and the files at the top. Names are compared word by word: ``answer_error`` and ``AnswerError``
have the word ``answer``.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TERMS = {
    r"answer(s|ed|ing)?": "response, error; return, respond",
    r"refus(al|als|e|es|ed|ing)": "error; reject",
    r"lets? in": "accept",
    r"(tell|tells|told)": "report, log, return",
    r"strangers?": "untrusted client",
    r"(some|no)body|whoever|whom|those who": "client, caller, process",
    r"believe[sd]?": "trust",
    r"anew": "again",
    r"move in step": "jitter",
    r"waiting room|seat|seats|seated": "concurrency limit",
    r"seal|seals|sealed": "sign, signature",
    r"held keys|keys held|keys that are held": "cached keys",
    r"(in )?flight of|journals?": "in-flight fetch; event log",
    r"blueprints?": "template",
    r"surveys?": "report",
    r"cannot be meant": "invalid setting",
    r"blanks?": "space",
    r"way of (a|the|one) request": "request lifecycle",
    r"the application broke": "unhandled exception",
    r"(hear|hears|heard)": "receive",
}
"""Term that is not used, as a regular expression over words, to what is written instead (CONTRIBUTING.md)."""
EXCEPTIONS = {
    r"connection ?refused|refused connection": "the operating system's term",
    r"jwt[_ .]refusals?": "a metric's name is part of the contract",
    r"keep_blank_values": "a parameter of urllib.parse.parse_qs",
    r"blank lines?": "the usual term for an empty line of text",
    r"\bRender\b.* Blueprints?|Blueprint from it": "Render's own term for a file of services",
    r"\.tell\(": "a method of file objects",
    r"journal[_ ]mode": "SQLite's own term",
}
"""Text that is not searched for terms, as a regular expression, to the reason."""
OFF, ON = "<!-- language: off -->", "<!-- language: on -->"
"""Lines between these are not searched: the glossary has to name the terms."""
OPENINGS = ("What", "Who", "Where", "Whether", "Whom", "Whose", "How")
FOLDERS = (
    "app",
    "config",
    "routes",
    "zuplo_origin",
    "tests",
    "package_tests",
    "benchmarks",
    "deploy",
    "docs",
    "examples",
)
SUFFIXES = (".py", ".md", ".html", ".yaml", ".toml", ".conf", ".service")

_found = re.compile(r"(?<![\w'])(?:" + "|".join(f"(?P<t{n}>{term})" for n, term in enumerate(TERMS)) + r")(?!\w)", re.I)
_excepted = re.compile("|".join(EXCEPTIONS), re.I)


def files() -> Iterator[Path]:
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    for name in listed.stdout.splitlines():
        path = Path(name)
        if path.suffix in SUFFIXES and path.exists() and (len(path.parts) == 1 or path.parts[0] in FOLDERS):
            yield path


def findings(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    is_on = True
    for number, line in enumerate(text.splitlines(), 1):
        is_on = line != OFF and (is_on or line == ON)
        if not is_on:
            continue
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", _excepted.sub("", line)).replace("_", " ")
        for match in _found.finditer(words):
            use = list(TERMS.values())[int(match.lastgroup[1:])]
            yield f"{path}:{number}: {match[0]!r}: write {use}"
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                words = (ast.get_docstring(node) or "x").split()
                if words and words[0] in OPENINGS:
                    yield f"{path}:{getattr(node, 'lineno', 1)}: docstring opens with {words[0]!r}"


def main() -> int:
    found = [each for path in (map(Path, sys.argv[1:]) if sys.argv[1:] else files()) for each in findings(path)]
    print("\n".join([*found, f"{len(found)} findings"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
