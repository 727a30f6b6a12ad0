"""The development console in a real browser: Debian's chromium, headless."""

import os
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
        assert not os.environ.get("BROWSER_REQUIRED"), "there is no chromium: apt-get install chromium"
        pytest.skip("there is no chromium: apt-get install chromium")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    with serve(project, tmp_path_factory.mktemp("log") / "log", "--dont-reload") as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def page(browser, address):
    """The console, loaded. Afterwards: no request left the machine, and the browser had nothing to complain of."""
    opened = browser.new_page()
    opened.set_default_timeout(20_000)
    complaints, asked = [], []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    expect(opened.locator("#routes tr")).to_have_count(4)
    yield opened
    opened.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def send(page):
    page.get_by_role("button", name="Send").click()


def status(page, code):
    expect(page.get_by_role("status")).to_have_text(f"The answer has status {code}.")


def failed_rules(page):
    return [row.split("\t")[1] for row in page.locator("#walk tr").all_inner_texts() if "✗" in row]


def mint(page, **fields):
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " ")).fill(value)
    page.get_by_role("button", name="Mint").click()
    expect(page.get_by_role("status")).to_have_text("Minted.")


def test_a_token_is_minted_sent_broken_and_sent_again(page):
    mint(page, Subject="alice", Scopes="read:orders")
    send(page)
    status(page, 200)
    assert '"sub": "alice"' in page.locator("#answer").inner_text()
    assert "Authorization: Bearer " in page.locator("#request").inner_text()
    assert failed_rules(page) == []

    for button, said, reason in (
        ("Expire", "Token has expired", "expired"),
        ("Other audience", "The token is for another audience", "wrong_audience"),
        ("Tamper", "The token's signature is not valid", "bad_signature"),
        ("Strip the signature", "The token's signature is not valid", "bad_signature"),
    ):
        mint(page)
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("status")).to_have_text(f"{button}: done. Send it.")
        send(page)
        status(page, 401)
        assert said in page.locator("#answer").inner_text()
        assert failed_rules(page) == [f"✗ {reason}"]


def test_without_a_token_the_challenge_is_seen(page):
    send(page)
    status(page, 401)

    assert "www-authenticate: bearer" in page.locator("#answer").inner_text().lower()


def test_what_cannot_be_minted_is_said(page):
    page.get_by_label("Further claims").fill("{")
    page.get_by_role("button", name="Mint").click()

    expect(page.get_by_role("status")).to_contain_text("a JSON object")


def test_it_is_used_by_keyboard_alone(page):
    page.get_by_label("Subject").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Minted.")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Send":
            break
    page.keyboard.press("Enter")
    status(page, 200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme):
    page.emulate_media(color_scheme=scheme)
    mint(page)
    page.get_by_role("button", name="Tamper").click()
    send(page)
    status(page, 401)

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_phone_needs_no_scrolling_sideways(page):
    page.set_viewport_size({"width": 360, "height": 740})
    mint(page)
    send(page)
    status(page, 200)

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
