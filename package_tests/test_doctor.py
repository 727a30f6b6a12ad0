"""`python -m zuplo_origin doctor`: each difference that matters, and none that does not."""

import re

import pytest

import zuplo_origin
from zuplo_origin import settings
from zuplo_origin.dev import doctor, new

VERSION = zuplo_origin.__version__
MIDDLEWARE = "app/middlewares/JWTAuthMiddleware.py"
OWN_RULES = """
from jose import jwt
from masonite.middleware import Middleware


class JWTAuthMiddleware(Middleware):
    def before(self, request, response):
        request.set_user(jwt.decode(request.header("Authorization"), "key"))
        return request

    def after(self, request, response):
        return request
"""
BEFORE = "            request.set_user(guard.verify(request, scopes))\n"
CHANGES = {
    "a file that is missing": ("wsgi.py", None, "wsgi.py: missing"),
    "a file of exclusions that is missing": (".dockerignore", None, ".dockerignore: missing"),
    "an old pin": ("requirements.txt", (f"=={VERSION}", "==0.1.0"), "requirements.txt:4: pins zuplo-origin 0.1.0"),
    "a wheel by its path": (
        "requirements.txt",
        (f"zuplo-origin=={VERSION}", "./wheels/zuplo_origin-0.1.0-py3-none-any.whl"),
        "requirements.txt:4: pins zuplo-origin 0.1.0",
    ),
    "a pin below another": ("requirements.txt", (f"=={VERSION}", ">=0.1"), "requirements.txt:4: does not pin"),
    "an old lock": (
        "requirements.lock",
        "zuplo-origin==0.1.0 \\\n    --hash=sha256:00\n",
        "requirements.lock:1: pins zuplo-origin 0.1.0",
    ),
    "no pin": ("requirements.txt", (f"zuplo-origin=={VERSION}", "masonite"), "requirements.txt: does not name"),
    "another locked version": (
        "constraints.txt",
        (r"\ncryptography==.*", "\ncryptography==1.0"),
        "constraints.txt: not the versions that",
    ),
    "another wsgi.py": ("wsgi.py", ("register_providers\\(", "register("), "wsgi.py: differs"),
    "another craft": ("craft", ("import main", "import other"), "craft: differs"),
    "a kernel without commands": (
        "Kernel.py",
        (r"        self.register_commands\(\)\n", ""),
        "Kernel.py: register differ",
    ),
    "another server": (
        "Procfile",
        ("zuplo_origin.server", "deploy.server"),
        "Procfile: web is python -m deploy.server; write",
    ),
    "another server of the image": (
        "Dockerfile",
        ('"zuplo_origin.server"', '"deploy.server"'),
        "Dockerfile: starts deploy",
    ),
    "another server of systemd": (
        "deploy/my-shop.service",
        ("-m zuplo_origin.server", "-m deploy.server"),
        "deploy/my-shop.service: starts deploy.server",
    ),
    "a provider that is missing": (
        "config/providers.py",
        ("    JWTProvider,\n", ""),
        "config/providers.py: JWTProvider is missing",
    ),
    "providers in another order": (
        "config/providers.py",
        ("    JWKSProvider,\n    JWTProvider,", "    JWTProvider,\n    JWKSProvider,"),
        "config/providers.py: JWTProvider is above JWKSProvider",
    ),
    "settings last": (
        "config/providers.py",
        (r"    SettingsProvider,\n(.*)\]", r"\1    SettingsProvider,\n]"),
        "config/providers.py: JWKSProvider is above SettingsProvider",
    ),
    "a database without its provider": (
        "config/providers.py",
        ("    DatabaseProvider,\n", ""),
        "config/providers.py: DatabaseProvider is missing",
    ),
    "providers that cannot be read": (
        "config/providers.py",
        (r"PROVIDERS = \[", "PROVIDERS = sorted(x) or ["),
        "config/providers.py:12: PROVIDERS is more than a list",
    ),
    "a provider that binds nothing": (
        "app/providers/JWTProvider.py",
        ("        self.application.bind.*\n", "        pass\n"),
        "app/providers/JWTProvider.py: lacks make_guard(), the binding 'guard'",
    ),
    "a middleware with rules of its own": (MIDDLEWARE, OWN_RULES, f"{MIDDLEWARE}:2: verifies tokens itself, with jose"),
    "a middleware without the guard": (MIDDLEWARE, OWN_RULES, f"{MIDDLEWARE}: holds rules of its own"),
    "a middleware with one more rule": (
        MIDDLEWARE,
        (re.escape(BEFORE), BEFORE + '            assert request.user()["sub"] != "mallory"\n'),
        f"{MIDDLEWARE}: before is not what new writes",
    ),
    "a middleware that reads bodies first": (
        MIDDLEWARE,
        ("    before_body = True.*\n", ""),
        f"{MIDDLEWARE}: lacks before_b",
    ),
    "a middleware without a check of scopes": (
        MIDDLEWARE,
        ("    check_arguments = .*\n", ""),
        f"{MIDDLEWARE}: lacks check_arguments",
    ),
    "no middleware": (MIDDLEWARE, None, f"{MIDDLEWARE}: missing"),
    "no guard in the kernel": ("Kernel.py", ('        "jwt": .*\n', ""), 'Kernel.py: route_middleware has no "jwt"'),
    "no claims in the kernel": (
        "Kernel.py",
        ('        "claims": .*\n', ""),
        'Kernel.py: route_middleware has no "claims"',
    ),
    "a typo in .env": (
        ".env",
        "JWT_ISSUERS=https://gw.example\n",
        ".env:1: JWT_ISSUERS is no setting; did you mean JWT_I",
    ),
    "a typo in .env-example": (
        ".env-example",
        ("JWT_LEEWAY", "JWT_LEWAY"),
        "JWT_LEWAY is no setting; did you mean JWT_LEE",
    ),
    "a typo in a manifest": (
        "deploy/fly.toml",
        ("METRICS_PORT", "WEB_THREAD"),
        "deploy/fly.toml:14: WEB_THREAD is no setting",
    ),
    "a typo in config/": (
        "config/jwt.py",
        ('env."JWT_LEEWAY"', 'env("JWT_LEWAY"'),
        "JWT_LEWAY is no setting; did you mean",
    ),
    "a constant without effect": (
        "config/server.py",
        ("\nTHREADS =", "\nTHREDS ="),
        "THREDS is no setting, and has no effect; did",
    ),
    "no route for probes": ("routes/web.py", (".*/health/ready.*\n", ""), "routes/web.py: /health/ready is missing"),
    "no routes of metrics": ("routes/web.py", (r"METRICS = \[", "OTHERS = ["), "routes/web.py: METRICS is missing"),
    "an import that moved": (
        "app/controllers/ProtectedController.py",
        ("from typing import Any\n", "from zuplo_origin.jwt.scopes import has_scopes\n"),
        "ProtectedController.py:3: there is no zuplo_origin.jwt.scopes; import it from zuplo_origin.jwt.claims",
    ),
    "a name that is gone": (
        "tests/test_health.py",
        ("import TestCase", "import TestClient"),
        "tests/test_health.py:4: zuplo_origin.testing has no TestClient; see CHANGELOG",
    ),
    "a module that is gone": (
        "app/__init__.py",
        "import zuplo_origin.foundation\n",
        "app/__init__.py:1: there is no zuplo_",
    ),
    "a file that does not compile": (
        "routes/web.py",
        ("ROUTES = ", "ROUTES == = "),
        "routes/web.py:9: does not compile",
    ),
    "a file that is no text": ("config/application.py", b"\xff\x00", "config/application.py: does not compile"),
}
UNIMPORTANT = {
    "a controller, a comment and a docstring": (
        "app/controllers/OrdersController.py",
        "from zuplo_origin.http import HttpException\nfrom zuplo_origin.openapi import responds\n",
    ),
    "other text around the code": ("wsgi.py", ('^"""', '"""Another text. # here\n\n')),
    "middleware of their own": (
        "Kernel.py",
        ('        "jwt":', '        "stamp": [JWTAuthMiddleware],\n        "jwt":'),
    ),
    "providers of their own": (
        "config/providers.py",
        (
            r"\n\]\n",
            "\n]\nOTHERS = [AProvider]\nPROVIDERS = [AProvider, *PROVIDERS] + OTHERS\nPROVIDERS += [BProvider]\n",
        ),
    ),
    "a provider in another file": (
        "config/providers.py",
        ("app.providers.JWTProvider import JWTProvider", "app.mine import Mine as JWTProvider, JWTProvider"),
    ),
    "services": (
        "config/providers.py",
        ("services import DatabaseProvider", "services import CacheProvider, DatabaseProvider"),
    ),
    "variables of their own": (".env", "DATABASE_URL=x\nPAYMENTS_SECRET=x\nexport JWT_ISSUER=x\n# JWT_*\n"),
    "variables of Kubernetes": ("deploy/more.yaml", "WEB_SERVICE_HOST: 1\nWEB_PORT_80_TCP: 1\n"),
    "constants of their own": ("config/payments.py", "SECRET = 1\nTLS_VERSION = 2\n"),
    "fewer files of config/": ("config/jwt.py", None),
    "fewer manifests": ("deploy/kubernetes.yaml", None),
    "another WSGI server": ("Procfile", ("python.*", "gunicorn --threads 8 wsgi:application")),
    "packages of their own": ("requirements.txt", (r"\Z", "stripe==1\n# zuplo-origin==0.1\n")),
}


@pytest.fixture
def shop(tmp_path):
    new.create(str(tmp_path / "shop"), "My Shop", "sqlite")
    return tmp_path / "shop"


def change(shop, name, text):
    """Write `text` to a file of the application, replace by a pair of pattern and text, or remove the file."""
    file = shop / name
    if text is None:
        file.unlink()
    elif isinstance(text, tuple):
        changed = re.sub(text[0], text[1], file.read_text(), count=1, flags=re.DOTALL if "(.*)" in text[0] else 0)
        assert changed != file.read_text()
        file.write_text(changed)
    else:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("database", new.DATABASES)
def test_new_application_needs_no_change(database, tmp_path, capsys):
    new.create(str(tmp_path / "shop"), None, database)

    assert doctor.examine(str(tmp_path / "shop")) == 0
    assert capsys.readouterr().out == f"nothing to change for zuplo-origin {VERSION}\n"


@pytest.mark.parametrize("case", CHANGES)
def test_doctor_names(case, shop, capsys):
    name, text, expected = CHANGES[case]
    change(shop, name, text)
    status = doctor.examine(str(shop))
    printed = capsys.readouterr()

    assert (status, printed.err) == (1, "")
    assert len([line for line in printed.out.splitlines() if expected in line]) == 1, printed.out
    assert len(printed.out.splitlines()) <= 6 + 3, printed.out  # of the summary


@pytest.mark.parametrize("case", UNIMPORTANT)
def test_doctor_does_not_name(case, shop, capsys):
    change(shop, *UNIMPORTANT[case])

    assert doctor.examine(str(shop)) == 0, capsys.readouterr().out


def test_doctor_names_each_difference_of_a_broken_application_and_runs_none_of_it(shop, capsys):
    change(shop, "wsgi.py", "raise SystemExit('imported')\n")
    change(shop, "config/application.py", "print('imported')\nraise RuntimeError\n")
    change(shop, "app/providers/JWTProvider.py", "import nothing_like_it\n")
    change(shop, "requirements.txt", (VERSION, "0.1.0"))
    status = doctor.examine(str(shop))
    printed = capsys.readouterr().out

    assert status == 1 and "imported" not in printed
    for name in ("wsgi.py:", "app/providers/JWTProvider.py:", "requirements.txt:4:"):
        assert len(re.findall(f"^{name}", printed, re.MULTILINE)) == 1
    assert f"3 to change for zuplo-origin {VERSION}" in printed


def test_doctor_prints_no_value_of_a_setting(shop, capsys):
    change(shop, ".env", "JWT_SECRET=very-secret\nGATEWAY_SECRETS=very-secret\n")

    assert doctor.examine(str(shop)) == 1
    assert "very-secret" not in capsys.readouterr().out


def test_doctor_names_an_old_wheel(shop, capsys):
    (shop / "wheels/zuplo_origin-0.1.0-py3-none-any.whl").touch()
    assert doctor.examine(str(shop)) == 1
    assert "wheels/: has zuplo_origin-0.1.0-py3-none-any.whl; put the wheel of" in capsys.readouterr().out

    (shop / f"wheels/zuplo_origin-{VERSION}-py3-none-any.whl").touch()
    assert doctor.examine(str(shop)) == 0


def test_doctor_names_a_renamed_setting(shop, capsys, monkeypatch):
    monkeypatch.setitem(settings.RENAMED, "JWT_SKEW", "JWT_LEEWAY")
    change(shop, ".env", "JWT_SKEW=3\n")

    assert doctor.examine(str(shop)) == 1
    assert capsys.readouterr().out.startswith(".env:1: JWT_SKEW was renamed; write JWT_LEEWAY\n")


def test_doctor_compares_with_a_clone_whose_providers_are_added_to(shop, capsys, monkeypatch):
    """The files of a clone are the template, and its owner edits them."""
    added = (
        "\nfrom zuplo_origin.services import QueueProvider\n\nPROVIDERS = [*PROVIDERS, QueueProvider]\nOTHERS = [1]\n"
    )
    files = new.files
    edited = {"config/providers.py": files("Shop", "sqlite")["config/providers.py"] + added}
    monkeypatch.setattr(new, "files", lambda *arguments: files(*arguments) | edited)

    assert doctor.examine(str(shop)) == 0, capsys.readouterr()


@pytest.mark.parametrize("folder", ["nothing", "file", "empty", "\0"])
def test_doctor_exits_with_2_for_what_is_no_application(folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    status = doctor.examine(str(tmp_path / folder))
    printed = capsys.readouterr()

    assert (status, printed.out) == (2, "")
    assert printed.err.startswith("doctor: ") and printed.err.count("\n") == 1


def test_doctor_exits_with_2_if_a_file_cannot_be_read_and_examines_the_others(shop, capsys):
    (shop / "Procfile").unlink()
    (shop / "Procfile").symlink_to("/proc/self/mem")  # reading it is an error, for root too
    change(shop, "requirements.txt", (VERSION, "0.1.0"))
    status = doctor.examine(str(shop))
    printed = capsys.readouterr()

    assert status == 2
    assert printed.err == "doctor: Procfile: Input/output error\n"
    assert "requirements.txt:4" in printed.out
