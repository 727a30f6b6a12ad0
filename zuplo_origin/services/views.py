"""Views: Jinja2 templates. Each rendered page is an object of its own, and templates are compiled once in a process."""

import os
import threading
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

from jinja2 import BaseLoader, Environment, FileSystemLoader, PackageLoader, Template, select_autoescape
from jinja2.exceptions import TemplateNotFound
from masonite.configuration import config
from masonite.environment import env
from masonite.exceptions import ViewException
from masonite.headers import Header
from masonite.helpers import MixHelper, optional
from masonite.utils.str import as_filepath
from masonite.views import View as MasoniteView
from masonite.views.view import path_to_package

from zuplo_origin.http.kernel import Provider

from .helpers import UrlsHelper

RequestData = type("RequestData", (dict,), {"__doc__": "What one request has passed to ``share`` and ``composer``."})


class Templates(BaseLoader):
    """Finds ``name`` in the locations, and ``namespace:name`` in those of the namespace. Names cannot leave them."""

    searchpath = ""  # some extensions of Jinja2 read it

    def __init__(self, locations: list[BaseLoader], namespaces: dict[str, list[BaseLoader]]) -> None:
        self.loaders, self._namespaces = locations, namespaces

    def get_source(self, environment: Environment, template: str) -> Any:
        namespace, _, name = template.rpartition(":")
        if "\0" not in name:
            for loader in self._namespaces.get(namespace, []) if namespace else self.loaders:
                try:
                    return loader.get_source(environment, name)  # rejects `..`
                except TemplateNotFound:
                    continue
        raise TemplateNotFound(template)

    def list_templates(self) -> list[str]:
        return sorted({name for loader in self.loaders for name in loader.list_templates()})


class _Environment(Environment):
    def join_path(self, template: str, parent: str) -> str:
        """Return the name of a template that ``parent`` includes or extends: first one in the parent's namespace."""
        namespace, _, _ = parent.rpartition(":")
        if namespace and ":" not in template:
            own = f"{namespace}:{template}"
            try:
                self.get_template(own)
            except TemplateNotFound:
                return template
            return own
        return template


class View(MasoniteView):
    """Masonite's ``View``, bound as ``view``: one object in a process, whose ``render`` returns another one.

    ``share`` and ``composer`` apply to all pages if a provider calls them, and to the pages of the request that calls
    them otherwise. All else that is registered applies to the process.
    """

    composers: dict[str, Any]
    _shared: dict[str, Any]
    _is_text = False

    def __init__(self, application: Any) -> None:
        super().__init__(application)
        self._lock = threading.Lock()  # guards changes of what is registered; a reader sees the old or the new value
        self._environment: Environment | None = None
        application.scoped("view.request_data", RequestData, RequestData)

    @property
    def env(self) -> Environment:
        """The Jinja2 environment, built again after a change of filters, tests, extensions or locations."""
        environment = self._environment
        if environment is None:
            with self._lock:
                environment = self._environment = self._build()
        return environment

    @env.setter
    def env(self, value: None) -> None:
        self._environment = value

    def _build(self) -> Environment:
        namespaces = {
            name: [self._loader(location) for location in locations] for name, locations in self.namespaces.items()
        }
        environment = _Environment(
            loader=Templates(list(self.loaders), namespaces),
            autoescape=select_autoescape(disabled_extensions=("txt",), default=True, default_for_string=True),
            extensions=self._jinja_extensions,
            line_statement_prefix="@",
            auto_reload=self.application.make("config").get("application.env") == "local",
        )
        environment.application = self.application  # type: ignore[attr-defined]  # for extensions, as in Masonite
        environment.filters.update(self._filters)
        environment.tests.update(self._tests)
        return environment

    def _change(self, name: str, value: Any) -> "View":
        """Replace what is registered under ``name``. Called with the lock."""
        setattr(self, name, value)
        self._environment = None
        return self

    def render(self, template: str, dictionary: dict[str, Any] | None = None) -> "View":
        """Return the page that ``template`` makes of ``dictionary``. Raises ``TemplateNotFound``.

        Raises ``ViewException`` if ``dictionary`` is not a dict.
        """
        dictionary = dictionary or {}
        if not isinstance(dictionary, dict):
            kind = type(dictionary).__name__
            raise ViewException(f"Second parameter to render method needs to be a dictionary, {kind} passed.")
        found, page = self._find(template), copy(self)
        request = self._request_data() or {}
        page.template = template
        page.dictionary = {**dictionary, **self._shared, **request.get("shared", {})}
        page.composers = {**self.composers, **request.get("composers", {})}
        if page.composers:
            page.hydrate_from_composers()
        page._is_text = str(found.name).endswith(".txt")
        page.rendered_template = found.render(page.dictionary)
        return page

    def get_response(self) -> str:
        """Return the page. The response is plain text if the template is (``.txt``): nothing in it is escaped."""
        if self._is_text and self.application.has("response"):
            plain = Header("Content-Type", "text/plain; charset=utf-8")
            self.application.make("response").header_bag.add_if_not_exists(plain)
        return str(self.rendered_template)

    def exists(self, template: str) -> bool:
        """Return whether there is a template ``template``."""
        try:
            self._find(template)
        except TemplateNotFound:
            return False
        return True

    def load_template(self, template: str) -> None:
        """Raise ``TemplateNotFound`` if there is no template ``template``."""
        self._find(template)

    def _find(self, template: str) -> Template:
        """Return the template: ``orders.show`` and ``orders/show`` are ``orders/show.html``; otherwise as named."""
        names = list(self._names(template))
        for name in names:
            try:
                return self.env.get_template(name)
            except TemplateNotFound as error:
                if error.name != name:
                    raise
        places = ", ".join(filter(None, (getattr(each, "searchpath", [""])[0] for each in self.loaders)))
        raise TemplateNotFound(template, f"Template {template!r} not found; looked for {names} in {places}")

    def _names(self, template: str) -> Iterator[str]:
        namespace, colon, name = template.rpartition(":")
        if not colon and name.startswith("/"):
            name = self._below_a_location(name)
        yield namespace + colon + as_filepath(name).replace(self.extension, "") + self.extension
        yield namespace + colon + name

    def _below_a_location(self, path: str) -> str:
        """Return an absolute path (``/templates/orders/show``) relative to its location. Others are not rendered."""
        base = os.path.realpath(self.application.base_path)
        locations: list[str] = [each for loader in self.loaders for each in getattr(loader, "searchpath", [])]
        for location in locations:
            for start in (location, location.removeprefix(base)):
                if path.startswith(f"{start}/"):
                    return path.removeprefix(f"{start}/")
        return path

    def share(self, dictionary: dict[str, Any]) -> "View":
        """Pass ``dictionary`` to all templates: of this request, or of the process if there is no request."""
        with self._lock:
            request = self._request_data()
            if request is None:
                self._shared = {**self._shared, **dictionary}
            else:
                request["shared"] = {**request.get("shared", {}), **dictionary}
        return self

    def composer(self, composer_name: str | list[str], dictionary: dict[str, Any]) -> "View":
        """Pass ``dictionary`` to the named templates (``orders*``, ``*``): of this request, or of the process."""
        names = [composer_name] if isinstance(composer_name, str) else composer_name
        added = {name: dictionary for name in names}
        with self._lock:
            request = self._request_data()
            if request is None:
                self.composers = {**self.composers, **added}
            else:
                request["composers"] = {**request.get("composers", {}), **added}
        return self

    def _request_data(self) -> dict[str, Any] | None:
        if self.application.current_scope() is None:
            return None
        return self.application.make("view.request_data")  # type: ignore[no-any-return]

    def add_location(self, template_location: str, loader: Any = PackageLoader) -> None:
        """Look for templates in a folder of the project or a package too (``package/folder``), or with ``loader``."""
        made = self._loader(template_location) if loader is PackageLoader else loader(template_location)
        with self._lock:
            self._change("loaders", [*self.loaders, made])

    def add_namespaced_location(self, namespace: str, template_location: str) -> None:
        """Look for ``namespace:name`` in this folder, and before in ``vendor/<namespace>`` of the templates."""
        published = os.path.join(self._folder("views.location", "templates"), "vendor", namespace)
        before = [published] if os.path.isdir(published) else []
        with self._lock:
            locations = [*self.namespaces.get(namespace, []), *before, template_location]
            self._change("namespaces", {**self.namespaces, namespace: locations})

    def add_from_package(self, package_name: str, path_in_package: str) -> None:
        self.add_location(f"{package_name}/{path_in_package}")

    def _folder(self, key: str, default: str) -> str:
        location = self.application.make(key) if self.application.has(key) else default
        return str(os.path.join(self.application.base_path, as_filepath(location)))

    def _loader(self, location: str) -> BaseLoader:
        folder = os.path.join(os.path.realpath(self.application.base_path), location.strip("/"))
        if os.path.isabs(location) and os.path.isdir(location):
            folder = location
        if os.path.isdir(folder) or "/" not in location.strip("/"):
            return FileSystemLoader(folder)
        return PackageLoader(*path_to_package(location))

    def filter(self, name: str, function: Callable[..., Any]) -> None:
        with self._lock:
            self._change("_filters", {**self._filters, name: function})

    def test(self, key: str, obj: Any) -> "View":
        with self._lock:
            return self._change("_tests", {**self._tests, key: obj})

    def add_extension(self, extension: str) -> "View":
        with self._lock:
            return self._change("_jinja_extensions", [*self._jinja_extensions, extension])

    def get_current_loaders(self) -> list[BaseLoader]:
        return list(self.loaders)


class ViewProvider(Provider):
    """Binds ``view`` and ``url``. Templates are in ``templates/``, or in the folder bound as ``views.location``."""

    def register(self) -> None:
        application = self.application
        view = View(application)
        view.add_location(application.make("views.location") if application.has("views.location") else "templates")
        urls = UrlsHelper(application)
        application.bind("url", urls)
        view.share(
            {
                "asset": urls.asset,
                "mix": MixHelper(application).url,
                "url": urls.url,
                "route": urls.route,
                "config": config,
                "exists": view.exists,
                "optional": optional,
                "env": env,
                "request": lambda: application.make("request"),
                "auth": lambda: application.make("request").user(),
                "cookie": lambda name: application.make("request").cookie(name),
            }
        )
        application.bind("view", view)
