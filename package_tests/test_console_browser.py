"""The development console in a browser (Chromium, headless)."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import expect, sync_playwright

from package_tests.support.console import console_project
from package_tests.support.console_models import MODELS
from package_tests.support.project import serve

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


ROUTES = 50


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
    project = console_project(tmp_path_factory.mktemp("project"))
    with serve(project, tmp_path_factory.mktemp("log") / "log", "--dont-reload") as server:
        yield re.search(r"Console: (\S+)\n", server.output())[1]


@pytest.fixture
def page(browser, address):
    """The loaded console. After the test: no error in the browser, and no request to another server."""
    tab = browser.new_page(permissions=["clipboard-read", "clipboard-write"])
    tab.set_default_timeout(20_000)
    errors, urls = [], []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: urls.append(request.url))
    tab.goto(address)
    expect(tab.locator(".route")).to_have_count(ROUTES)
    yield tab
    tab.close()
    assert errors == []
    assert [url for url in urls if not url.startswith((address.partition("#")[0], "data:"))] == []


def select(page, route):
    page.locator(f'[data-route="{route}"]').click()


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
    expect(page.locator("#rules details[open]")).to_have_count(0)
    expect(page.locator("#verdict")).to_have_text("12 of 12 passed")


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
    expect(page.locator("#verdict")).to_have_text(f"rejected: {reason}")
    opened = page.locator("#rules details[open]")
    assert opened.count() == page.locator("#rules .failed").count() < 12
    assert all("found" in text and "expected" in text for text in opened.all_inner_texts())


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


def test_console_says_why_garbage_cannot_be_changed(page):
    for text in ("garbage", "a.b.c", "é.é.é", "W10.e30.x", "bnVsbA.e30.x"):
        page.get_by_label("Token", exact=True).fill(text)
        problem = re.compile("three segments|is not a JSON object in base64url")
        expect(page.get_by_role("alert")).to_have_text(problem)
        for button in ("Tamper", "Expire"):
            page.get_by_role("button", name=button).click()
            expect(page.get_by_role("status")).to_have_text(problem)


def test_console_shows_faults_of_a_body_at_their_fields(page):
    select(page, "POST /orders")
    body = page.get_by_label("Body", exact=True)
    assert json.loads(body.input_value()) == {"title": "text", "count": 1}
    expect(page.locator("#syntax")).to_be_empty()
    send(page)
    expect_status(page, 200)
    body.fill('{"title": "x", "count": 0}')
    send(page)
    expect_status(page, 422)
    expect(page.locator("#faults li")).to_contain_text(["title", "count"])
    body.fill("{")
    send(page)
    expect(page.get_by_role("status")).to_contain_text("Body: not JSON")
    expect(page.locator("#syntax")).to_contain_text("Body: not JSON")


def test_console_shows_a_stream_as_it_comes(page):
    select(page, "GET /size/{size}")
    page.get_by_label("size (path, required)").fill("0")
    send(page)
    expect(page.locator("#response")).to_have_text("first ")
    expect(page.locator("#response")).to_have_text("first second")
    select(page, "GET /endless")
    send(page)
    expect(page.locator("#response")).to_contain_text("tick tick")
    page.get_by_role("button", name="Stop").click()
    expect_status(page, 200)
    expect(page.locator("#timing")).to_contain_text("stopped")


def test_console_folds_five_megabytes_and_shows_text_only(page):
    select(page, "GET /size/{size}")
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


def test_console_shows_an_example_of_each_body_that_is_valid(page):
    bodies = page.evaluate(
        """names => names.map(name => {
          document.querySelector(`[data-route="POST /models/${name}"]`).click();
          return document.querySelector('[name=body]').value;
        })""",
        list(MODELS),
    )
    for body, model in zip(bodies, MODELS.values(), strict=True):
        made = model.model_validate_json(body)
        assert made.model_fields_set or not model.model_fields
    examples = dict(zip(MODELS, map(json.loads, bodies), strict=True))
    assert examples["Dates"]["due"] == "2026-01-15"
    stated = {"named": "Ada", "default": 7, "exact": "1.10", "kind": "order", "level": 3, "color": "red"}
    assert examples["Stated"] == stated | {"large": 9007199254740993}
    assert examples["Filled"] == {"name": "Grace", "at": "1906-12-09"}
    assert examples["Node"]["parent"] is None and examples["Chain"] == {"value": 1, "next": None}
    assert examples["Defaults"] == {
        "address": {"street": "Main", "number": 1, "zip": "12345"},
        "tags": ["a", "b"],
        "level": 9,
        "empty": "",
        "off": False,
    }


def test_console_sends_and_shows_numbers_digit_by_digit(page):
    select(page, "GET /numbers")
    send(page)
    expect_status(page, 200)
    shown = page.locator("#response").inner_text()
    for digits in ("9007199254740993", "1.10", "-0.0", "1e400", "0.1234567890123456789"):
        assert re.search(rf"(?<![\d.]){re.escape(digits)}(?!\d)", shown), digits
    page.get_by_role("button", name="Copy body").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    body = '{"id": 9007199254740993, "price": 1.10, "exact": [1, -0.0, 1e400, 0.1234567890123456789]}'
    assert page.evaluate("navigator.clipboard.readText()") == body

    page.get_by_label("More claims, as JSON").fill('{"account": 9007199254740993}')
    mint(page)
    page.get_by_role("button", name="Other audience").click()
    expect(page.get_by_role("status")).to_have_text("Token changed: other audience.")
    assert claims(page)["account"] == 9007199254740993


def test_console_has_a_control_for_each_kind_of_parameter_and_body(page):
    select(page, "GET /orders")
    assert page.get_by_label("color (query)").locator("option").all_inner_texts() == ["not sent", "red", "blue"]
    assert page.get_by_label("paid (query)").locator("option").all_inner_texts() == ["not sent", "true", "false"]
    page.get_by_label("color (query)").select_option("blue")
    page.get_by_label("paid (query)").select_option("false")
    page.get_by_label("text (query)").fill("a & b=ü")
    mint(page)
    send(page)
    expect_status(page, 200)
    page.get_by_role("button", name="Copy body").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    sent = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert sent == {"color": "blue", "size": 1, "paid": False, "text": "a & b=ü"}

    select(page, "POST /load")
    assert page.get_by_label("Body", exact=True).input_value() == "8,1.10\n9,2.20\n"
    select(page, "POST /photos")
    assert page.get_by_label("photo", exact=True).get_attribute("type") == "file"
    select(page, "POST /echo/{name}")
    kinds = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "image/*"]
    assert page.get_by_label("Content type").locator("option").all_inner_texts() == kinds
    send(page)
    expect(page.get_by_role("status")).to_have_text("name: a value is required.")


TEXT = 'it\'s "quoted" \\n $HOME `x` %41 é 日本 😀'
FILE = b"\x00\x89PNG\r\n\xff"


def fill_echo(page, kind):
    """Fill in a request with a body of the content type `kind`, and return the body that the server has to receive."""
    select(page, "POST /echo/{name}")
    page.get_by_label("name (path, required)").fill("b c'ü?")
    page.get_by_label("More headers, one a line").fill('X-Quote: it\'s "quoted" $HOME \\n')
    page.get_by_label("Content type").select_option(kind)
    upload = {"name": "a 'b\" ü.png", "mimeType": "image/png", "buffer": FILE}
    if kind == "application/json":
        page.get_by_label("Body", exact=True).fill(json.dumps({"text": TEXT}, indent=2, ensure_ascii=False) + "\n\n")
        return page.get_by_label("Body", exact=True).input_value().encode().hex()
    if kind == "image/*":
        page.get_by_label("File", exact=True).set_input_files(upload)
        return FILE.hex()
    page.get_by_label("Field name").fill("@text")
    page.get_by_label("Field value").fill(TEXT)
    if kind == "application/x-www-form-urlencoded":
        return {"@text": TEXT}
    page.get_by_role("button", name="Add field").click()
    page.get_by_label("Field name").nth(1).fill("more")
    page.get_by_label("Field value").nth(1).fill("<x;type=text/html")
    page.get_by_role("button", name="Add file").click()
    page.get_by_label("Field name").nth(2).fill("photo")
    page.get_by_label("Field file").set_input_files(upload)
    return {"@text": TEXT, "more": "<x;type=text/html", "photo": [[upload["name"], "image/png", FILE.hex()]]}


def has_node():
    """Return whether Node.js 20 is installed: `openAsBlob` is new in it. Where npm is required, so is Node.js."""
    node = shutil.which("node")
    assert node or not os.environ.get("NPM_REQUIRED"), "node is not installed, but NPM_REQUIRED is set"
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node else "v0"
    return int(version[1:].partition(".")[0]) >= 20


COMMANDS = {"curl": ["bash"], "Python": [sys.executable, "-"], "JavaScript": ["node", "--input-type=module"]}


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "image/*"]
)
def test_copied_commands_do_the_request_that_the_console_sends(page, kind, tmp_path):
    mint(page)
    body = fill_echo(page, kind)
    (tmp_path / "a 'b\" ü.png").write_bytes(FILE)
    send(page)
    expect_status(page, 200)
    page.get_by_role("button", name="Copy body").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    received = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert received["body"] == body
    assert (received["path"], received["HTTP_X_QUOTE"]) == ("b c'ü?", 'it\'s "quoted" $HOME \\n')
    assert received["type"] == kind.replace("*", "png") and received["HTTP_AUTHORIZATION"].startswith("Bearer ey")

    for language, command in COMMANDS.items():
        if language == "JavaScript" and not has_node():
            continue
        page.get_by_role("button", name=f"Copy as {language}").click()
        expect(page.get_by_role("status")).to_have_text(f"Copied as {language}.")
        text = page.evaluate("navigator.clipboard.readText()")
        ended = subprocess.run(command, input=text, capture_output=True, cwd=tmp_path, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout[ended.stdout.index("{") :]) == received, language


def test_history_shows_the_statements_of_a_request_and_their_time(page):
    select(page, "GET /query")
    send(page)
    expect_status(page, 200)
    page.get_by_role("button", name="See in History").click()
    entry = page.locator(".entry[open]")

    expect(entry).to_have_count(1)
    expect(entry).to_contain_text("SQL: 1 statement")
    expect(entry.locator("td").nth(0)).to_have_text("SELECT '?' AS name, 12 AS number")
    expect(entry.locator("td").nth(1)).to_have_text(re.compile(r"^\d+(\.\d+)? ms$"))


def test_routes_are_filtered_by_path_scope_and_guard(page):
    for text, count in (("list:refunds", 1), ("get INVOICES", 2), ("no guard", 1), ("POST /models", len(MODELS))):
        page.get_by_label("Filter routes").fill(text)
        expect(page.locator(".route")).to_have_count(count)
    page.get_by_label("Filter routes").fill("nothing like this")
    expect(page.locator("#routes")).to_have_text("No route matches.")


@pytest.mark.parametrize("width", [1440, 1024])
def test_response_and_verification_are_visible_without_scrolling(page, width):
    height = {1440: 900, 1024: 768}[width]
    page.set_viewport_size({"width": width, "height": height})
    mint(page)
    page.get_by_role("button", name="Other audience").click()
    expect(page.get_by_role("status")).to_have_text("Token changed: other audience.")
    send(page)
    expect_status(page, 401)
    expect(page.locator("#rules li")).to_have_count(12)

    assert page.evaluate("document.documentElement.scrollHeight") <= height
    for part in ("#status", "#response", "#verdict", "#rules li >> nth=0"):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height, part
    heights = [each.bounding_box()["height"] for each in page.locator("#rules li:not(.failed)").all()]
    assert max(heights) < 30


def with_routes(count):
    """Return a handler of requests for the console's state that leaves `count` routes in it."""

    def handle(route):
        response = route.fetch()
        state = response.json()
        state["document"]["paths"] = dict(list(state["document"]["paths"].items())[:count])
        route.fulfill(response=response, json=state)

    return handle


def assert_page_is_accessible(page, name):
    # the entries of History are alike, and colour contrast takes seconds for 200 of them
    alike = '{exclude: [".entry:nth-of-type(n + 9)"]}'
    results = page.evaluate(f'axe.run({alike}, {{resultTypes: ["violations"]}})')
    assert results["violations"] == [], (name, AxeResults(results).generate_report())
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name


WIDTHS = (1440, 1024, 390)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_console_has_no_axe_violations_and_fits_each_width(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 1440, "height": 900})
    select(page, "GET /invoices/{number}")
    mint(page)
    page.get_by_role("button", name="Other audience").click()
    expect(page.get_by_role("status")).to_have_text("Token changed: other audience.")
    send(page)
    expect_status(page, 401)
    expect(page.locator("#rules li")).to_have_count(13)
    if os.environ.get("CONSOLE_SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['CONSOLE_SCREENSHOTS']}/console-{scheme}.png")
    page.evaluate(AXE_SCRIPT)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for name in ("Requests", "History", "Keys", "Settings", "Gateway"):
            tab = page.get_by_role("tab", name=name)
            box = tab.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, (name, width)
            tab.click()
            expect(page.get_by_text("Loading…")).to_have_count(0)
            if name == "History":
                page.locator(".entry summary").first.click()
            assert_page_is_accessible(page, f"{name} at {width}")


@pytest.mark.parametrize("count", [0, 3])
def test_console_with_few_routes_has_no_axe_violations_and_fits_each_width(page, count):
    page.route("**/console/state", with_routes(count))
    page.reload()
    expect(page.locator(".route")).to_have_count(count)
    page.evaluate(AXE_SCRIPT)
    if count == 0:
        expect(page.locator("#routes")).to_contain_text("No routes yet")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
    else:
        send(page)
        expect_status(page, 401)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert_page_is_accessible(page, f"{count} routes at {width}, {scheme}")


def test_routes_are_folded_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    routes = page.get_by_role("button", name=f"Routes ({ROUTES})")
    expect(routes).to_have_attribute("aria-expanded", "false")
    routes.click()
    select(page, "GET /numbers")
    expect(routes).to_have_attribute("aria-expanded", "false")
    send(page)
    expect_status(page, 200)
    expect(page.locator("#response")).to_be_in_viewport()
