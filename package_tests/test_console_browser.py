"""The development console in a browser (Chromium, headless)."""

import os
import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from package_tests.support.project import copy_of_the_project, serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        assert not os.environ.get("BROWSER_REQUIRED"), "Chromium is not installed"
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    with serve(project, tmp_path_factory.mktemp("log") / "log", "--dont-reload") as server:
        yield re.search(r"Console: (\S+)\n", server.output())[1]


@pytest.fixture
def page(browser, address):
    """The loaded console. After the test: no error in the browser, and no request to another server."""
    tab = browser.new_page()
    tab.set_default_timeout(20_000)
    errors, urls = [], []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: urls.append(request.url))
    tab.goto(address)
    expect(tab.locator("#routes tr")).to_have_count(4)
    yield tab
    tab.close()
    assert errors == []
    assert [url for url in urls if not url.startswith((address.partition("#")[0], "data:"))] == []


def send(page):
    page.get_by_role("button", name="Send").click()


def expect_status(page, code):
    expect(page.get_by_role("status")).to_have_text(f"Response: status {code}.")


def failed_rules(page):
    return [row.split("\t")[1] for row in page.locator("#rules tr").all_inner_texts() if "✗" in row]


def issue(page, **fields):
    for label, value in fields.items():
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Issue").click()
    expect(page.get_by_role("status")).to_have_text("Token issued.")


def test_console_asks_for_the_printed_url_without_the_secret(browser, address):
    tab = browser.new_page()
    tab.goto(address.partition("#")[0])
    expect(tab.get_by_role("status")).to_have_text("Open the URL of the console that craft serve has printed.")
    tab.close()


def test_console_shows_the_response_to_an_issued_token(page):
    issue(page, Subject="alice", Scopes="read:orders")
    send(page)
    expect_status(page, 200)

    assert '"sub": "alice"' in page.locator("#response").inner_text()
    assert "Authorization: Bearer " in page.locator("#sent").inner_text()
    assert failed_rules(page) == []


@pytest.mark.parametrize(
    ("button", "error", "reason"),
    [
        ("Expired", "Token has expired", "expired"),
        ("Other audience", "The token is for another audience", "wrong_audience"),
        ("Other subject, same signature", "The token's signature is not valid", "bad_signature"),
        ("Without signature", "The token's signature is not valid", "bad_signature"),
    ],
)
def test_console_shows_the_failed_rule_for_a_changed_token(page, button, error, reason):
    issue(page)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("status")).to_have_text(f"Token changed: {button.lower()}.")
    send(page)
    expect_status(page, 401)

    assert error in page.locator("#response").inner_text()
    assert failed_rules(page) == [f"✗ {reason}"]


def test_console_shows_the_challenge_without_a_token(page):
    send(page)
    expect_status(page, 401)

    assert "www-authenticate: bearer" in page.locator("#response").inner_text().lower()


def test_console_shows_a_problem_with_invalid_claims(page):
    page.get_by_label("More claims").fill("{")
    page.get_by_role("button", name="Issue").click()

    expect(page.get_by_role("status")).to_contain_text("a JSON object")


def test_console_works_with_the_keyboard_only(page):
    page.get_by_label("Subject").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Token issued.")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Send":
            break
    page.keyboard.press("Enter")
    expect_status(page, 200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_console_has_no_axe_violations(page, scheme):
    page.emulate_media(color_scheme=scheme)
    issue(page)
    page.get_by_role("button", name="Other subject").click()
    send(page)
    expect_status(page, 401)

    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_console_fits_a_narrow_screen(page):
    page.set_viewport_size({"width": 360, "height": 740})
    issue(page)
    send(page)
    expect_status(page, 200)

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
