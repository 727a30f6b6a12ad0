"""Providers and middleware of Masonite with which the application does not start."""

import subprocess
import sys

import masonite.middleware
import pytest
from masonite.api.providers import ApiProvider
from masonite.events.providers import EventProvider
from masonite.logging import LoggingProvider
from masonite.middleware import CorsMiddleware, EncryptCookies
from masonite.notification.providers import NotificationProvider
from masonite.providers import CacheProvider, FrameworkProvider, Provider, SessionProvider
from masonite.validation.providers import ValidationProvider

from package_tests.support.applications import application
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import clean_environment, free_port
from zuplo_origin.services.rejected import MIDDLEWARE, PROVIDERS
from zuplo_origin.services.start import CANNOT_START

ELSEWHERE = {each.__name__: each for each in (ApiProvider, LoggingProvider, NotificationProvider)}


class OwnSession(SessionProvider):
    """Inherits `register`."""


class CallsSuper(CacheProvider):
    def register(self):
        super().register()


class Replaces(CacheProvider):
    def register(self):
        self.application.bind("cache", "another")


class ReplacesHalf(FrameworkProvider):
    """Replaces `register`, and inherits the `boot` that binds another request."""

    def register(self):
        pass


class OwnCookies(EncryptCookies):
    def after(self, request, response):
        return request


class AddsMiddleware(Provider):
    def register(self):
        self.application.make("middleware").add({"cors": CorsMiddleware})


def messages(capsys, *providers, **middleware):
    """Return what the start prints, or an empty string if the application starts."""
    made = application()
    made.make("middleware").add(middleware)
    try:
        made.add_providers(*providers)
    except SystemExit as end:
        assert end.code == CANNOT_START
        return capsys.readouterr().err
    return ""


@pytest.mark.parametrize("name", PROVIDERS)
def test_provider_of_masonite_is_rejected_with_one_sentence(name, capsys):
    rejected = ELSEWHERE.get(name) or getattr(masonite.providers, name)

    title, sentence = messages(capsys, rejected).splitlines()

    assert title == "Cannot start: 1 provider or middleware of Masonite cannot be used."
    assert sentence == f"  {rejected.__module__}.{name}: {PROVIDERS[name].format(name=name)}"


@pytest.mark.parametrize("name", MIDDLEWARE)
def test_middleware_of_masonite_is_rejected_with_one_sentence(name, capsys):
    rejected = getattr(masonite.middleware, name)

    _, sentence = messages(capsys, web=[rejected]).splitlines()

    assert sentence == f"  {rejected.__module__}.{name}: {MIDDLEWARE[name].format(name=name)}"


def test_every_class_is_reported_at_once(capsys):
    printed = messages(capsys, SessionProvider, FrameworkProvider, web=[EncryptCookies])

    assert printed.splitlines()[0] == "Cannot start: 3 providers or middleware of Masonite cannot be used."
    assert len(printed.splitlines()) == 4


@pytest.mark.parametrize("provider", [OwnSession, CallsSuper, ReplacesHalf])
def test_subclass_that_runs_the_rejected_method_is_rejected(provider, capsys):
    assert f"{provider.__name__} (a subclass of masonite.providers." in messages(capsys, provider)


def test_subclass_of_middleware_that_inherits_a_method_is_rejected(capsys):
    assert "OwnCookies (a subclass of masonite.middleware." in messages(capsys, web=OwnCookies)


def test_subclass_that_replaces_the_method_is_accepted(capsys):
    assert messages(capsys, Replaces) == ""


def test_middleware_that_a_provider_adds_is_rejected(capsys):
    assert "CorsMiddleware" in messages(capsys, AddsMiddleware)


def test_provider_that_adds_commands_registers_in_a_server(capsys):
    made = application()
    made.objects.shared.pop("commands")  # as in a server

    made.add_providers(ValidationProvider, EventProvider)

    assert made.make("event")
    assert vars(made.make("commands")) == {}


def test_production_server_prints_the_sentence_and_exits(tmp_path):
    project = copy_of_the_project(tmp_path)
    text = "from app.providers import PROVIDERS\nfrom masonite.providers import SessionProvider\n"
    (project / "config" / "providers.py").write_text(text + "PROVIDERS = [*PROVIDERS, SessionProvider]\n")
    settings = {"JWT_ISSUER": "http://127.0.0.1:9/", "JWT_AUDIENCE": "*", "PORT": str(free_port()), "HOST": "127.0.0.1"}

    ended = subprocess.run(
        [sys.executable, "-m", "zuplo_origin.server"],
        cwd=project,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode != 0
    assert f"masonite.providers.SessionProvider.SessionProvider: {PROVIDERS['SessionProvider']}" in ended.stderr
    assert "Traceback" not in ended.stderr
