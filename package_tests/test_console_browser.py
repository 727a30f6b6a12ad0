"""The development console in a browser (Chromium, headless)."""

import json
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


CONTROLLER = """
import time

from masonite.controllers import Controller
from masonite.response import Response
from pydantic import BaseModel, Field


class Order(BaseModel):
    title: str = Field(min_length=3)
    count: int = Field(ge=1)


class BenchController(Controller):
    def create(self, order: Order) -> dict:
        return {"title": order.title, "count": order.count}

    def size(self, size: int, response: Response):
        if size == 0:
            return response.stream(self.slow())
        return {"items": ["<img src=x onerror=alert(1)>" * 4] * size}

    def slow(self):
        yield "first "
        time.sleep(3)
        yield "second"
"""
ROUTES = """
from app.controllers.BenchController import BenchController

ROUTES += [
    Route.post("/orders", BenchController.create).middleware("public"),
    Route.get("/size/@size:int", BenchController.size).middleware("public"),
]
"""


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
    (project / "app" / "controllers" / "BenchController.py").write_text(CONTROLLER)
    routes = project / "routes" / "web.py"
    routes.write_text(routes.read_text() + ROUTES)
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
    expect(tab.locator(".route")).to_have_count(6)
    yield tab
    tab.close()
    assert errors == []
    assert [url for url in urls if not url.startswith((address.partition("#")[0], "data:"))] == []


def send(page):
    page.get_by_role("button", name="Send").click()


def expect_status(page, code):
    expect(page.get_by_role("status")).to_have_text(f"Response: status {code}.")


def mint(page, **fields):
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Mint token").click()
    expect(page.get_by_role("status")).to_have_text("Token minted.")


def claims(page):
    return json.loads(page.get_by_label("Claims", exact=True).input_value())


def test_console_asks_for_the_printed_url_without_the_secret(browser, address):
    tab = browser.new_page()
    tab.goto(address.partition("#")[0])
    expect(tab.get_by_role("status")).to_have_text("Open the URL of the console that craft serve has printed.")
    tab.close()


def test_console_shows_the_response_and_the_verification_steps(page):
    mint(page, Subject="alice", Scopes="read:orders")
    send(page)
    expect_status(page, 200)

    assert '"sub": "alice"' in page.locator("#response").inner_text()
    expect(page.locator("#rules li")).to_have_count(12)
    expect(page.locator("#rules .bad")).to_have_count(0)


@pytest.mark.parametrize(
    ("button", "reason"),
    [
        ("Expire", "expired"),
        ("Tamper", "bad_signature"),
        ("Other audience", "wrong_audience"),
        ("Other key", "bad_signature"),
        ("None", "algorithm_not_allowed"),
        ("Change alg", "algorithm_not_allowed"),
    ],
)
def test_console_breaks_the_token_that_is_there(page, button, reason):
    mint(page, Subject=f"subject of {button}")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("status")).to_have_text(f"Token changed: {button.lower()}.")
    assert claims(page)["sub"] == f"subject of {button}"
    send(page)
    expect_status(page, 401)

    expect(page.locator("#rules .bad").first).to_contain_text(reason)


def test_console_removes_the_scope_and_signs_edited_claims(page):
    mint(page, Scopes="read:orders")
    page.get_by_role("button", name="Remove scope").click()
    expect(page.get_by_role("status")).to_have_text("Token changed: remove scope.")
    assert "scope" not in claims(page)
    page.get_by_label("Claims", exact=True).fill(json.dumps(claims(page) | {"sub": "edited"}))
    page.get_by_role("button", name="Sign again").click()
    expect(page.get_by_role("status")).to_have_text("Token signed again.")
    send(page)
    expect_status(page, 200)

    assert '"sub": "edited"' in page.locator("#response").inner_text()


@pytest.mark.parametrize("text", ["garbage", "a.b.c", "é.é.é", "W10.e30.x", "bnVsbA.e30.x"])
@pytest.mark.parametrize("button", ["Tamper", "Expire"])
def test_console_says_why_garbage_cannot_be_changed(page, text, button):
    page.get_by_label("Token", exact=True).fill(text)
    page.get_by_role("button", name=button).click()

    expect(page.get_by_role("status")).to_have_text(re.compile("three segments|is not a JSON object in base64url"))


def test_console_shows_faults_of_a_body_at_their_fields(page):
    page.get_by_role("button", name="POST /orders").click()
    body = page.get_by_label("Body", exact=True)
    assert json.loads(body.input_value()) == {"title": "text", "count": 1}
    send(page)
    expect_status(page, 200)
    body.fill('{"title": "x", "count": 0}')
    send(page)
    expect_status(page, 422)
    expect(page.locator("#faults li")).to_contain_text(["title", "count"])
    body.fill("{")
    send(page)
    expect(page.get_by_role("status")).to_contain_text("Body: not JSON")


def test_console_shows_a_stream_as_it_comes(page):
    page.get_by_role("button", name="GET /size").click()
    page.get_by_label("size (path, required)").fill("0")
    send(page)
    expect(page.locator("#response")).to_have_text("first ")
    expect(page.locator("#response")).to_have_text("first second")


def test_console_folds_five_megabytes_and_shows_text_only(page):
    page.get_by_role("button", name="GET /size").click()
    page.get_by_label("size (path, required)").fill("45000")
    send(page)
    expect_status(page, 200)

    assert page.evaluate("document.documentElement.scrollHeight") < 2_000
    page.locator("#response details details summary").click()
    expect(page.locator("#response")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#response img").count() == 0
    assert page.locator("#response div").count() <= 201


def test_history_shows_a_request_of_another_client_as_text(page, address):
    page.context.request.get(address.partition("#")[0] + "%3Cimg%20src=x%20onerror=alert(1)%3E")
    page.get_by_role("tab", name="History").click()

    expect(page.locator(".entry").first).to_contain_text("404 GET /<img src=x onerror=alert(1)>")
    assert page.locator("#history img").count() == 0


def test_tabs_show_keys_settings_and_gateway(page):
    page.get_by_role("tab", name="Keys").click()
    expect(page.locator("#keys")).to_contain_text("development-")
    page.get_by_role("tab", name="Settings").click()
    expect(page.locator("#settings")).to_contain_text("craft serve")
    page.get_by_role("tab", name="Gateway").click()
    expect(page.locator("#gateway")).to_contain_text("python craft zuplo:export ../gateway")


def test_console_works_with_the_keyboard_only(page):
    page.get_by_role("tab", name="Requests").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="History")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Mint token").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Token minted.")
    page.get_by_label("Subject").focus()
    page.keyboard.press("Enter")
    expect_status(page, 200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_console_has_no_axe_violations_and_fits_each_width(page, scheme):
    page.emulate_media(color_scheme=scheme)
    mint(page)
    page.get_by_role("button", name="Other audience").click()
    expect(page.get_by_role("status")).to_have_text("Token changed: other audience.")
    send(page)
    expect_status(page, 401)
    expect(page.locator("#rules li")).to_have_count(12)
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for name in ("Requests", "History", "Keys", "Settings", "Gateway"):
            page.get_by_role("tab", name=name).click()
            expect(page.get_by_text("Loading…")).to_have_count(0)
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            if name == "Requests" and os.environ.get("CONSOLE_SCREENSHOTS"):
                page.screenshot(path=f"{os.environ['CONSOLE_SCREENSHOTS']}/console-{scheme}-{width}.png")
