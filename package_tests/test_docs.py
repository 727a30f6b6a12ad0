"""The documentation: its code runs, its links lead somewhere, and its reference pages are complete."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path

import pytest

from package_tests.support.project import craft, serve
from package_tests.support.servers import ROOT, clean_environment
from zuplo_origin.dev.new import files
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.http.errors import phrase
from zuplo_origin.settings import SETTINGS

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "README.md": 3,
    "CONTRIBUTING.md": 5,
    "docs/database.md": 2,
    "docs/deploy.md": 6,
    "docs/migrate.md": 2,
    "docs/observability.md": 7,
    "docs/operations.md": 2,
    "docs/queues.md": 1,
    "docs/services.md": 3,
    "docs/tutorial.md": 3,
    "docs/upgrade.md": 3,
}
"""Page to the number of its blocks that are marked with `<!-- not run: reason -->`."""
FRAGMENTS = {"README.md": 1}
"""Page to the number of its Python blocks that belong to no file: they are compiled, but not run."""
NOTHING_TO_RUN = {
    "docs/console.md": "a page in a browser, with tests of its own",
    "docs/deploy.md": "needs the places to deploy to",
    "docs/observability.md": "needs Prometheus, Grafana, Sentry or a collector",
    "docs/operations.md": "needs a deployed origin",
    "docs/performance.md": "measurements, of minutes each",
    "docs/upgrade.md": "package_tests/test_upgrade.py takes its steps",
    "docs/what-is-not-here.md": "a table",
}
"""Page to the reason why none of its blocks is run."""
FOLLOWED = {
    "docs/tutorial.md": "sqlite",
    "docs/database.md": "none",
    "docs/queues.md": "sqlite",
    "docs/mail.md": "sqlite",
    "docs/files.md": "none",
}
"""Pages that say before each Python block what to do with it, to the ``--database`` of the application that has them.
Its server restarts to see the code of a Python block."""
IN_ONE_APPLICATION = (
    "docs/tutorial.md",
    "docs/database.md",
    "docs/queues.md",
    "docs/mail.md",
    "docs/files.md",
    "docs/openapi.md",
)
"""Pages that a user follows one after the other, in one new application with a database."""
ADDED_TO = ("routes/web.py", "config/providers.py", "Kernel.py")
"""Files to whose end the blocks of the other pages are added."""
SHOWN = ("text", "http", "ts", "caddy")
"""Languages of blocks that are not code of this project."""
ADDRESS = "127.0.0.1:8000"


@dataclass(frozen=True)
class Block:
    """A fenced block. ``reason`` is why it is not run, ``file`` is the file that a Python block belongs to.

    ``said`` is the paragraph before it, in one line.
    """

    page: str
    line: int
    language: str
    reason: str | None
    text: str
    said: str

    @property
    def file(self) -> str | None:
        found = re.match(r"# ([\w/]+\.py)\n", self.text) if self.language == "python" else None
        return found[1] if found else None

    @property
    def does(self) -> str | None:
        """The instruction before the block: `create`, `replace` or `add`; `None` if there is none."""
        named = re.findall(r"\b(create)\b|\b(replace) all of\b|\b(add)\b.*? to the end of\b", self.said, re.IGNORECASE)
        return "".join(named[-1]).lower() if named else None

    @property
    def is_for_no_database(self) -> bool:
        """Return whether it is only for an application that was created without a database."""
        return "`--database none`" in self.said


def blocks_of(path):
    pattern = re.compile(r"(?:<!-- not run: ([^\n]+) -->\n)?^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    text, page = path.read_text(), str(path.relative_to(ROOT))
    return [
        Block(page, text[: each.start(2)].count("\n") + 1, each[2], each[1], each[3], said(text[: each.start()]))
        for each in pattern.finditer(text)
    ]


def said(before):
    """Return the last paragraph of the text before a block."""
    return " ".join(before.rstrip().rpartition("\n\n")[2].split())


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def run_in_project(project, command, **variables):
    """Run a shell command in the project, with this Python first on the path, and return what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", command],
        cwd=project,
        env=clean_environment(PATH=path, PYTEST_ADDOPTS="-n 0", **variables),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


# -- code -------------------------------------------------------------------------------------------------------------


def test_blocks_are_run_unless_they_are_marked_and_counted():
    assert Counter(block.page for block in BLOCKS if block.reason) == NOT_RUN
    fragments = [block for block in BLOCKS if block.language == "python" and not block.reason and not block.file]
    assert Counter(block.page for block in fragments) == FRAGMENTS


def test_every_page_of_docs_has_a_block_that_is_run():
    run = {block.page for block in BLOCKS if not block.reason and block.language in ("sh", "python")}
    pages = {str(page.relative_to(ROOT)) for page in PAGES if page.parent.name == "docs"}

    assert pages - run == set(NOTHING_TO_RUN)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_block_has_a_language_and_parses(block):
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "dotenv":
        names = [line.partition("=")[0] for line in block.text.splitlines()]
        assert names and set(names) <= set(SETTINGS)
    else:
        assert block.language in ("sh", *SHOWN) or block.reason


@pytest.mark.timeout(300)  # README.md: eight processes one after the other
@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if not block.reason and block.language in ("sh", "python")})
)
def test_code_of_a_page_runs_in_its_order(page, tmp_path):
    """Shell blocks are run, and Python blocks are written to their files, in a new application."""
    blocks = [block for block in BLOCKS if block.page == page]
    project = new_application(tmp_path / "project", FOLLOWED.get(page, "sqlite"))
    address, variables = ADDRESS, {}
    with ExitStack() as stack:
        is_served = False
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            if block.reason:
                continue
            if block.language == "python" and page in FOLLOWED:
                stack.close()
                is_served = False
            if block.language == "sh":
                if not is_served and re.search(rf"{ADDRESS}|craft (?:jwt|jwks):", block.text):
                    server, is_served = stack.enter_context(serve(project, tmp_path / "log", "--dont-reload")), True
                    address = f"127.0.0.1:{server.port}"
                    variables = {"TOKEN": craft(project, "jwt:token").stdout.strip()}
                printed = run_in_project(project, block.text.replace(ADDRESS, address), **variables)
                if following and following.language == "json":
                    assert shape(json.loads(printed.splitlines()[-1])) == shape(json.loads(following.text))
                if following and following.language == "text" and page in FOLLOWED:
                    assert [line for line in following.text.splitlines() if line not in printed] == []
            elif block.file:
                write(project / block.file, block)
    tests = [block.file for block in blocks if not block.reason and block.file and block.file.startswith("tests/")]
    if tests:
        run_in_project(project, f"python -m pytest {' '.join(tests)}")


@pytest.mark.timeout(180)
def test_pages_are_followed_one_after_the_other_in_one_application(tmp_path):
    """No page undoes what an earlier one has written: all tests pass at the end."""
    project = new_application(tmp_path / "project", "sqlite")
    made = files("Notes", "sqlite")
    for page in IN_ONE_APPLICATION:
        for block in [each for each in BLOCKS if each.page == page and not each.reason]:
            if block.language == "sh":
                run_without_a_server(project, block.text)
            elif block.is_for_no_database and not block.file.endswith("providers.py"):
                assert block.text.partition("\n")[2] == made[block.file], "a page shows what `new` writes"
            elif block.file and not block.is_for_no_database:
                is_new = block.does or block.file in ADDED_TO or not (project / block.file).exists()
                assert is_new, f"{page}:{block.line}: {block.file} is that of an earlier page"
                write(project / block.file, block)

    listed = craft(project, "routes:list").stdout
    assert all(path in listed for path in ("/notes", "/books", "/receipt", "/welcome", "/photos", "/invoices"))
    assert "passed" in run_in_project(project, "python -m pytest -q")


def run_without_a_server(project, text):
    """Run a shell block, unless it needs a server. Tests are run later; craft commands are run in forked processes."""
    if re.search(rf"{ADDRESS}|craft (?:jwt|jwks):", text):
        return
    for kind, lines in groupby(text.splitlines(), key=lambda line: re.match(r"python (craft|-m pytest) |", line)[1]):
        for line in lines if kind == "craft" else ():
            ended = craft(project, *shlex.split(line)[2:])
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
        if kind is None:
            run_in_project(project, "\n".join(lines))


@pytest.mark.parametrize("page", FOLLOWED)
def test_page_says_what_to_do_with_each_python_block(page):
    unclear = [f"{each.page}:{each.line}" for each in BLOCKS if each.page == page and each.file and not each.does]

    assert unclear == []


def new_application(folder, database):
    """Write what a new application has, and return its folder. Its processes import the product from the root."""
    for name, text in files("Notes", database).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def write(file, block):
    """Do with a block what its page says. Those of other pages are added to the routes and the providers."""
    does = block.does if block.page in FOLLOWED else "add" if block.file in ADDED_TO else None
    place = f"{block.page}:{block.line}"
    assert does != "create" or not file.exists(), f"{place}: {block.file} exists"
    assert does not in ("add", "replace") or file.exists(), f"{place}: {block.file} does not exist"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{file.read_text()}\n{block.text}" if does == "add" else block.text)


def shape(value):
    """Return ``value`` with the type of each number, and without the ports of URLs: what does not differ by run."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return re.sub(r":\d+/", "/", value) if isinstance(value, str) else type(value)


def test_settings_page_shows_what_invalid_settings_print():
    (shown,) = [block.text for block in BLOCKS if block.page == "docs/settings.md" and block.language == "text"]
    settings = {"APP_ENV": "production", "JWT_ISSUER": "https://gateway.test/__zuplo/issuer", "JWT_LEEWAY": "abc"}
    ended = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
    )

    assert (ended.returncode, ended.stderr) == (3, shown)


# -- links ------------------------------------------------------------------------------------------------------------


def anchors_of(path):
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)

    assert broken == []


def test_test_files_that_security_names_exist():
    named = set(re.findall(r"`((?:test|fuzz)_\w+\.py)`", (ROOT / "SECURITY.md").read_text()))

    assert len(named) > 15
    assert named <= {path.name for path in (ROOT / "package_tests").rglob("*.py")}


# -- the site ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Loaded(HTMLParser):
    """Collects the addresses that a browser loads, or prepares to load, for a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(given.get("href"))
        self.addresses += [given[name] for name in ("src", "srcset", "poster", "data") if tag != "a" and name in given]


def test_site_loads_nothing_from_other_hosts(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert [each for each in loaded.addresses if re.match(r"(\w+:)?//", each or "")] == [], page
    styles = "".join(file.read_text() for file in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*", styles) == []


def test_site_has_every_page_and_those_outside_docs(site):
    built = {str(page.relative_to(site).with_suffix(".md")) for page in site.rglob("*.html")} - {"404.md"}

    outside = {"SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/orders/index.md"}
    assert built == {page.name for page in PAGES if page.parent.name == "docs"} | outside


# -- reference pages --------------------------------------------------------------------------------------------------


def rows_of(page):
    """Return the rows of the tables of a page, a list of cells each."""
    lines = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


COMPUTED = {"JWT_REALM": "`APP_NAME`", "JWKS_URL": "`<issuer>/.well-known/jwks.json`", "UPLOAD_DIR": "the system's"}
"""Settings whose default is computed."""


def test_reference_is_what_the_code_makes():
    checked = subprocess.run([sys.executable, ".ci/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True)

    assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout + checked.stderr


def test_settings_page_has_every_setting_with_its_default():
    documented = {row[0].strip("`"): row[1] for row in rows_of("docs/settings.md") if row[0].startswith("`")}
    defaults = {name: f"`{setting.default}`" if setting.default else "none" for name, setting in SETTINGS.items()}

    assert documented == defaults | COMPUTED | {"ENV_FILE": "none"}


def test_settings_page_has_the_ranges_that_are_checked():
    ranges = {row[0].strip("`"): re.fullmatch(r"([\d.]+) to (\d+)", row[2]) for row in rows_of("docs/settings.md")}
    checked = {name: found.groups() for name, found in ranges.items() if found}

    assert len(checked) >= 18
    for name, (low, high) in checked.items():
        read = SETTINGS[name].read
        assert read(low) == float(low) and read(high) == float(high)
        for outside in (str(float(low) - 1), str(int(high) + 1)):
            with pytest.raises(ValueError, match="number from"):
                read(outside)


def test_errors_page_has_every_reason_with_its_response():
    documented = {row[0].strip("`"): row[1:] for row in rows_of("docs/errors.md") if row[0].startswith("`")}

    assert documented == {
        reason.value: [str(each.status), each.error, each.details or ""] for reason, each in ERROR_RESPONSES.items()
    }


def test_errors_page_has_every_status_with_its_phrase():
    documented = {int(row[0]): row[1] for row in rows_of("docs/errors.md") if row[0].isdigit()}

    assert documented.pop(422) == "Validation failed"
    assert len(documented) >= 10 and documented == {status: phrase(status) for status in documented}


def test_logs_page_has_every_event():
    folders = ("http", "jwks", "observability", "server", "services")
    files = [path for folder in folders for path in (ROOT / "zuplo_origin" / folder).glob("*.py")]
    sources = "".join(path.read_text() for path in files if path.name != "metrics.py").replace("jwks_uri", "")
    prefixes = (
        "log_lines|jwks|queue|server|task|worker|reload|tracing|unhandled|exception_handler|request_observer|cache"
    )
    events = {"request", "open_routes", "request_error", "body_not_spooled", "log_lines_dropped"}
    events |= {"database_unavailable", "transaction_left_open"} | set(
        re.findall(rf'"((?:{prefixes})_[a-z_]+)"', sources)
    )
    rows = [
        row[0]
        for row in rows_of("docs/logs-and-metrics.md")
        if row[1] in ("info", "warning", "error", "critical", "warning, info", "error, info")
    ]

    assert {name for cell in rows for name in re.findall(r"`(\w+)`", cell)} == events


def test_logs_page_has_every_metric():
    source = (ROOT / "zuplo_origin/observability/metrics.py").read_text()
    metrics = set(re.findall(r'"((?:http|jwt|jwks|queue|db)_[a-z_]+)"', source))
    page = (ROOT / "docs/logs-and-metrics.md").read_text()

    assert [name for name in metrics if not re.search(rf"`{name}(_total)?`", page)] == []
