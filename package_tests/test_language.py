"""The check of the language, `.ci/language.py`."""

import importlib.util
import re
import subprocess
import sys

import pytest

from package_tests.support.servers import ROOT

CHECK = ROOT / ".ci/language.py"
_spec = importlib.util.spec_from_file_location("language", CHECK)
language = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(language)

LEFT_OUT = "stran" + "ger"  # in two parts, so that the check does not find it in this file


def findings(folder, text, name="example.py"):
    (folder / name).write_text(text)
    return [each.removeprefix(f"{folder / name}:") for each in language.findings(folder / name)]


@pytest.mark.parametrize(
    "line",
    [
        f"# sent by a {LEFT_OUT}",
        f'x = "{LEFT_OUT}s"',
        f"def from_{LEFT_OUT}_s(): ...",
        f"class {LEFT_OUT.title()}Token: ...",
    ],
)
def test_check_finds_a_term_in_comments_strings_and_names(tmp_path, line):
    (found,) = findings(tmp_path, f"x = 1\n{line}\n")

    assert found.startswith("2: ") and found.endswith("write untrusted client")


@pytest.mark.parametrize("word", language.OPENINGS)
def test_check_finds_a_docstring_that_opens_with_a_question_word(tmp_path, word):
    assert findings(tmp_path, f'def f():\n    """{word} it is."""\n')[-1:] == [f"1: docstring opens with {word!r}"]


@pytest.mark.parametrize(
    "line",
    [
        "# ConnectionRefusedError: connection refused",
        'counter("jwt_refusals_total")',
        "# a blank line ends the headers",
        "position = file.tell()",
        "# a seating plan, untold",
    ],
)
def test_check_accepts_exceptions_and_parts_of_other_words(tmp_path, line):
    assert findings(tmp_path, f"{line}\n") == []


def test_check_accepts_terms_between_its_markers_only(tmp_path):
    text = "\n".join([language.OFF, LEFT_OUT, language.ON, LEFT_OUT])

    assert findings(tmp_path, text, "page.md") == [f"4: {LEFT_OUT!r}: write untrusted client"]


def test_exceptions_have_a_reason_each():
    assert all(len(reason.split()) >= 3 for reason in language.EXCEPTIONS.values())


def test_glossary_of_contributing_names_terms_that_the_check_finds(tmp_path):
    table = (ROOT / "CONTRIBUTING.md").read_text().split(language.OFF)[1].split(language.ON)[0]
    terms = [term for row in re.findall(r"\| (?:[^|]+) \| ([^|]+) \|", table)[1:] for term in row.split(",")]

    assert len(terms) > 20
    assert [term for term in terms if not findings(tmp_path, term.strip(), "page.md")] == []


def test_check_exits_with_1_when_it_finds_something(tmp_path):
    (tmp_path / "page.md").write_text(f"{LEFT_OUT}\n")
    ended = subprocess.run([sys.executable, CHECK, tmp_path / "page.md"], capture_output=True, text=True)

    assert ended.returncode == 1 and ended.stdout.endswith("1 findings\n")
