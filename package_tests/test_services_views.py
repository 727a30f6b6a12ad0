"""Views: rendering, what is shared, locations, and names of templates."""

import pytest
from jinja2 import FileSystemLoader
from jinja2.exceptions import TemplateNotFound
from masonite.controllers import Controller
from masonite.exceptions import ViewException
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route
from masonite.views import View

from package_tests.support.service_project import TEMPLATES, service_application
from package_tests.support.wsgi_client import request
from zuplo_origin.services import ViewProvider


class PageController(Controller):
    def show(self, request: Request, view: View):
        return view.render(request.query("name"), {"user": "<b>"})

    def given(self, view: View, response: Response):
        response.header("Content-Type", "text/csv")
        return response.view(view.render("page", {"user": "a"}), 201)

    def share(self, view: View):
        view.share({"user": "shared"}).composer("shared", {"owner": "o", "place": "p"})
        return view.render("page").get_content() + view.render("shared").rendered_template


@pytest.fixture
def application(tmp_path):
    for name, text in {**TEMPLATES, "../secret.html": "secret", "../package/shop/cart.html": "cart {{ user }}"}.items():
        file = tmp_path / "templates" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    made = service_application(tmp_path, ViewProvider)
    for name in ("show", "given", "share"):
        made.make("router").add(Route.get(f"/{name}", getattr(PageController, name)))
    return made


@pytest.fixture
def view(application):
    return application.make("view")


def test_page_is_html_and_escaped(application):
    response = request(application, "GET", "/show?name=page")

    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.body == b"<p>&lt;b&gt;  &lt;b&gt;</p>\n"


@pytest.mark.parametrize("name", ["page.j2", "page.html", "page"])
def test_templates_are_escaped_whatever_their_extension(view, name):
    assert "&lt;b&gt;" in view.render(name, {"user": "<b>"}).rendered_template


def test_template_of_plain_text_is_not_escaped_and_sent_as_plain_text(application):
    response = request(application, "GET", "/show?name=plain.txt")

    assert (response.headers["content-type"], response.body) == ("text/plain; charset=utf-8", b"plain <b>")


def test_response_view_keeps_status_and_headers(application):
    response = request(application, "GET", "/given")

    assert (response.status, response.headers["content-type"]) == (201, "text/csv")


def test_two_pages_are_objects_of_their_own(view):
    first, second = view.render("page", {"user": "a"}), view.render("page", {"user": "b"})

    assert "a" in first.get_content() and "b" in second.get_response() and "b" not in first.get_content()
    assert (first.template, second.dictionary["user"]) == ("page", "b")


def test_what_a_request_shares_ends_with_it(application):
    assert request(application, "GET", "/share").body == b"<p>shared  shared</p>\no p"
    assert b"shared" not in request(application, "GET", "/show?name=page").body
    assert request(application, "GET", "/show?name=shared").body == b" "


def test_what_a_provider_shares_is_in_all_pages(application, view):
    view.share({"user": "everyone"})
    view.composer(["shared", "parts*"], {"owner": "o"}).composer("*", {"place": "p"})

    assert b"everyone" in request(application, "GET", "/show?name=page").body
    assert request(application, "GET", "/show?name=shared").body == b"o p"


def test_filters_tests_and_extensions_are_used_after_a_page_was_rendered(application, view, tmp_path):
    view.render("page")
    view.filter("shout", str.upper)
    view.test("long", lambda text: len(text) > 3)
    view.add_extension("jinja2.ext.do")
    (tmp_path / "templates/all.html").write_text("{% do [] %}{{ user | shout }} {{ user is long }}")

    assert view.render("all", {"user": "jane"}).rendered_template == "JANE True"


def test_helpers_of_a_template(application, view, tmp_path):
    (tmp_path / "templates/helpers.html").write_text("{{ request().get_path() }} {{ exists('page') }} {{ auth() }}")

    assert request(application, "GET", "/show?name=helpers").body == b"/show True None"


def test_locations_and_namespaces(view, tmp_path):
    view.add_namespaced_location("shop", "package/shop")
    view.add_location(str(tmp_path / "package"), loader=FileSystemLoader)

    assert view.render("shop:cart", {"user": "a"}).rendered_template == "cart a"
    assert view.render("shop/cart").rendered_template == "cart "
    assert view.exists("shop:cart") and not view.exists("shop:page") and not view.exists("other:cart")


def test_published_templates_of_a_namespace_are_used_first(view, tmp_path):
    published = tmp_path / "templates/vendor/shop"
    published.mkdir(parents=True)
    (published / "cart.html").write_text("own cart{% include 'page.html' %}{% include 'part.html' %}")
    (tmp_path / "package/shop/part.html").write_text("part")
    view.add_namespaced_location("shop", "package/shop")

    assert view.render("shop:cart").rendered_template == "own cartpart"


def test_dots_and_slashes_name_folders(view):
    assert view.render("parts.row", {"user": 1}).rendered_template == "row 1"
    assert view.render("parts/row", {"user": 1}).rendered_template == "row 1"
    assert view.render("/templates/parts/row", {"user": 1}).rendered_template == "row 1"


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "../secret.html",
        "..secret",
        "parts/../../secret.html",
        "/secret.html",
        "/templates/../secret.html",
        "shop:../secret.html",
        "//etc/passwd",
        "/etc/passwd",
        "page\0",
        "",
        "..",
    ],
)
def test_names_do_not_leave_the_locations(application, view, name):
    view.add_namespaced_location("shop", "package/shop")

    assert not view.exists(name)
    with pytest.raises(TemplateNotFound):
        view.render(name)


def test_missing_template_is_500_and_its_name_is_logged(application, caplog, tmp_path):
    response = request(application, "GET", "/show?name=nowhere")

    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert (
        f"Template 'nowhere' not found; looked for ['nowhere.html', 'nowhere'] in {tmp_path}/templates" in caplog.text
    )


def test_missing_part_of_a_template_is_named(view):
    with pytest.raises(TemplateNotFound, match=r"parts/missing\.html"):
        view.render("incomplete")


def test_data_that_is_no_dict_is_an_error(view):
    with pytest.raises(ViewException, match="dictionary, list passed"):
        view.render("page", ["user"])


def test_templates_are_compiled_once(view, monkeypatch):
    compiled, compile = [], type(view.env).compile
    monkeypatch.setattr(type(view.env), "compile", lambda *arguments: compiled.append(1) or compile(*arguments))
    for number in range(5):
        view.render("page", {"user": number})

    assert len(compiled) == 1
