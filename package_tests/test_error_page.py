"""The page for an unhandled exception in development: in a browser (Chromium, headless), and for other clients."""

import json
import os
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from package_tests.support.controllers import Controller, project_with
from package_tests.support.project import serve
from package_tests.support.wsgi_client import environ
from zuplo_origin.dev import error_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOSTILE = "<script>document.title='ran'</script><img src=x onerror=document.title='ran'>'\"&</pre>"
FAILING = Controller(
    "FailingController",
    """
from masonite.controllers import Controller
from masonite.request import Request


class FailingController(Controller):
    def show(self, request: Request):
        raise ValueError(request.query("message"))  # the line that failed

    def param(self, name):
        raise ValueError("\\ud800 cannot be encoded")
""",
    '[Route.get("/fails", FailingController.show), Route.get("/fails/@name", FailingController.param)]',
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    project = project_with(FAILING, tmp_path_factory.mktemp("project"))
    log = tmp_path_factory.mktemp("log") / "log"
    with serve(project, log, "--dont-reload", APP_DEBUG="True", JWT_HEADER="X-Service-Pass") as server:
        yield server


@pytest.fixture
def page(server):
    """A tab of a browser. After the test: no script ran, and no error but the status of the page itself."""
    if CHROMIUM is None:
        assert not os.environ.get("BROWSER_REQUIRED"), "Chromium is not installed"
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = chromium.new_page(
            extra_http_headers={"X-Note": HOSTILE, "X-Service-Pass": "pass-1", "Cookie": "a=hidden"}
        )
        tab.set_default_timeout(20_000)
        errors, urls = [], []
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: urls.append(request.url))
        yield tab
        assert [text for text in errors if "status of 500" not in text] == []
        assert {url.split("?")[0].split("/fails")[0] for url in urls if not url.startswith("data:")} == {
            f"http://127.0.0.1:{server.port}"
        }
        chromium.close()


def test_browser_shows_the_exception_its_frames_and_the_request_and_hostile_text_is_inert(server, page):
    response = page.goto(f"http://127.0.0.1:{server.port}/fails?message={HOSTILE.replace('&', '%26')}")

    assert (response.status, page.title()) == (500, "Internal server error: ValueError")
    text = page.inner_text("body")
    assert HOSTILE in text and "the line that failed" in text and "app/controllers/FailingController.py" in text
    assert "/fails" in text and "GET" in text
    assert page.locator("img, script, iframe").count() == 0
    assert "hidden" not in page.content() and "pass-1" not in page.content()
    assert Axe().run(page).violations_count == 0


def test_browser_shows_a_hostile_path(server, page):
    page.goto(f"http://127.0.0.1:{server.port}/fails/%3Cimg src=x onerror=document.title='ran'%3E")

    assert "<img src=x onerror=document.title='ran'>" in page.inner_text("body")
    assert "\\ud800 cannot be encoded" in page.inner_text("body")
    assert page.title() == "Internal server error: ValueError" and page.locator("img, script").count() == 0


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "application/json, text/html", "text/html;q=0.5, */*"]
)
def test_client_that_does_not_prefer_html_gets_json(server, accept):
    headers = {} if accept is None else {"Accept": accept}
    status, sent, body = server.get("/fails?message=boom", headers)

    assert (status, sent["content-type"]) == (500, "application/json; charset=utf-8")
    exception = json.loads(body)["exception"]
    assert (exception["type"], exception["message"]) == ("ValueError", "boom")


def test_secret_headers_are_not_shown_and_the_policy_is_strict(server):
    secrets = {
        "Authorization": "Bearer hidden-1",
        "Cookie": "a=hidden-2",
        "X-Service-Pass": "hidden-3",
        "X-Api-Key": "hidden-4",
        "Backend-Secret": "hidden-5",
        "Proxy-Authorization": "hidden-6",
    }
    status, headers, body = server.get("/fails?message=x", {"Accept": HTML, "X-Shown": "shown-1"} | secrets)

    assert (status, b"hidden" in body, b"shown-1" in body) == (500, False, True)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy and "unsafe" not in policy
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "changed",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": None},
        {"HTTP_HOST": "rebound.example:8000"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_ZP_RID": "1"},
    ],
)
def test_page_is_not_for_another_machine_or_a_proxied_request(changed):
    class Sent:
        environ = environ("GET", "/", {"Accept": HTML}) | {"REMOTE_ADDR": "127.0.0.1"} | changed

    assert error_page.show(Sent, None, ValueError()) is False
