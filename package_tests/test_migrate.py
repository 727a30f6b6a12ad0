"""An application as Masonite's skeleton lays it out, moved by the steps of `docs/migrate.md`, on the real server."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from package_tests.support.controllers import wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.processes import python
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import ROOT, Server, clean_environment, free_port
from package_tests.support.smtp import SmtpServer

BLOG = ROOT / "package_tests" / "project_masonite"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDED_TO = ("web.py", "providers.py", "Kernel.py")
APP_KEY = "a key of this test, thirty-two bytes or more"


def move(project):
    """Follow the steps of the page in `project`: run its shell blocks, and write its Python blocks to their files."""
    for language, text in BLOCK.findall((ROOT / "docs/migrate.md").read_text()):
        if language == "sh":
            shell(project, text)
            continue
        file = project / re.match(r"# ([\w/]+\.py)\n", text)[1]
        file.write_text(f"{file.read_text()}\n{text}" if file.name in ADDED_TO else text)


def shell(project, text):
    path = f"{sys.prefix}/bin"
    environment = clean_environment(
        BLOG=str(BLOG), JWT_ISSUER="https://gw.example.com", JWT_AUDIENCE="*", MAIL_DRIVER="terminal"
    )
    environment["PATH"] = f"{path}:{environment['PATH']}"
    command = ["/bin/bash", "-euo", "pipefail", "-c", text]
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def smtp():
    with SmtpServer() as running:
        yield running


@pytest.fixture(scope="module")
def blog(tmp_path_factory, smtp):
    """The blog on two processes, with a user whose `sub` is `jane`; `request` sends a request with claims."""
    folder = tmp_path_factory.mktemp("blog")
    project = copy_of_the_project(folder / "project")
    move(project)
    with closing(sqlite3.connect(project / "database.sqlite3", isolation_level=None)) as database:
        database.execute(
            "insert into users (name, email, password, subject) values ('Jane', 'jane@example.com', 'x', 'jane')"
        )
    issuer, port = Issuer(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "JWT_REQUIRED_CLAIMS": "sub", "PORT": str(port)}
    settings |= {"APP_KEY": APP_KEY, "MAIL_DRIVER": "smtp", "MAIL_HOST": "127.0.0.1", "MAIL_PORT": str(smtp.port)}
    command = [sys.executable, "-m", "zuplo_origin.server"]
    with Server(command, port, folder / "log", settings | {"HOST": "127.0.0.1"}, project) as server:

        def request(method, path, body=None, **claims):
            headers = {"Content-Type": "application/json"}
            if claims:
                headers["Authorization"] = f"Bearer {issuer.token(**{'exp': 2**40} | claims)}"
            content = None if body is None else json.dumps(body).encode()
            status, _, received = server.get(path, headers, method, content)
            return status, json.loads(received)

        yield request
    issuer.close()


def test_stock_application_does_not_start_as_it_is(tmp_path):
    """Masonite's providers are rejected, with what to use instead."""
    project = copy_of_the_project(tmp_path / "project")
    lines = (BLOG / "config/providers.py").read_text().splitlines()
    (project / "config/providers.py").write_text("\n".join(line for line in lines if "AppProvider" not in line))
    ended = python(project, "craft", "routes:list", JWT_ISSUER="https://gw.example.com", JWT_AUDIENCE="*")
    sentence = "MailProvider: not safe under threads; import MailProvider from zuplo_origin.services instead"

    assert ended.returncode == 3 and "providers or middleware of Masonite cannot be used." in ended.stderr
    assert sentence in ended.stderr and ended.stdout == "" and "Traceback" not in ended.stderr


def test_reading_is_public_and_writing_needs_a_token(blog):
    assert blog("GET", "/posts")[0] == 200
    assert blog("GET", "/posts/99")[0] == blog("GET", "/posts/x")[0] == 404
    assert blog("POST", "/posts", {"title": "A", "body": "b"}) == (401, {"error": "No token provided"})


def test_author_writes_a_post_and_receives_the_mail_of_its_job(blog, smtp):
    """The controller fires an event, whose listener pushes a job, which sends a mailable with a view."""
    status, post = blog("POST", "/posts", {"title": "Hello", "body": "first"}, sub="jane")
    wait_until(lambda: smtp.mails)
    (mail,) = smtp.mails

    assert status == 201 and post["title"] == "Hello"
    assert (mail.recipients, mail.message["Subject"]) == (["jane@example.com"], "Published: Hello")
    assert b"Hello" in mail.content
    assert blog("GET", f"/posts/{post['id']}")[1]["body"] == "first"
    assert blog("GET", "/posts")[1][0]["author"]["name"] == "Jane"
    assert "password" not in blog("GET", "/posts")[1][0]["author"]


def test_invalid_input_is_422_and_an_unknown_author_403(blog):
    assert blog("POST", "/posts", {"title": "A"}, sub="jane")[0] == 422
    assert blog("POST", "/posts", {"title": {"a": 1}, "body": "b"}, sub="jane")[0] == 422
    assert blog("POST", "/posts", {"title": "A", "body": "b"}, sub="eve")[0] == 403


def test_policy_and_middleware_read_claims(blog):
    post = blog("POST", "/posts", {"title": "Mine", "body": "b"}, sub="jane")[1]
    path = f"/posts/{post['id']}"

    assert blog("PUT", path, {"body": "c"}, sub="jane") == (403, {"error": "Members only"})
    assert blog("PUT", path, {"body": "c"}, sub="eve", member=True) == (403, {"error": "Forbidden"})
    assert blog("PUT", path, {"body": "c"}, sub="jane", member=True)[1]["body"] == "c"
