"""Views, mail, storage and queues on the production server: 16 clients at once, and exact counts."""

import http.client
import json
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from email.utils import parseaddr

import pytest

from package_tests.support.controllers import wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server, clean_environment, free_port
from package_tests.support.service_project import APP_KEY, migrate, service_project
from package_tests.support.smtp import SmtpServer

CLIENTS, REQUESTS = 16, 25
TOTAL = CLIENTS * REQUESTS


@pytest.fixture(scope="module")
def smtp():
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = service_project(tmp_path_factory.mktemp("services") / "project")
    migrate(project, MAIL_PORT="1")
    return project


@pytest.fixture(scope="module")
def server(project, smtp, tmp_path_factory):
    issuer, port = Issuer(), free_port()
    settings = {
        "APP_KEY": APP_KEY,
        "JWT_ISSUER": issuer.name,
        "JWT_AUDIENCE": "*",
        "MAIL_PORT": str(smtp.port),
        "METRICS_ENABLED": "True",
        "PORT": str(port),
        "SHUTDOWN_DRAIN": "0",
    }
    log = tmp_path_factory.mktemp("log") / "log"
    with Server([sys.executable, "-m", "zuplo_origin.server"], port, log, settings, project) as server:
        wait_until(lambda: "server_ready" in server.output())
        yield server
    issuer.close()


def hammer(server, path, check):
    """Send `TOTAL` requests for `path`, each with a user and a number of its own, over `CLIENTS` connections.

    Return the number of responses for each status, and `wrong` for those of 200 that `check` does not accept.
    """
    seen = Counter()

    def client(user):
        connection, found = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60), Counter()
        for number in range(REQUESTS):
            connection.request("GET", f"{path}user={user}&number={number}")
            response = connection.getresponse()
            body = response.read().decode()
            found["wrong" if response.status == 200 and not check(body, user, str(number)) else response.status] += 1
        connection.close()
        seen.update(found)

    threads = [threading.Thread(target=client, args=(f"user{number}",)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def everyone():
    return Counter((f"user{user}", str(number)) for user in range(CLIENTS) for number in range(REQUESTS))


def notes(project, *beginning):
    """Return the rest of the lines of `storage/notes` that begin like this."""
    lines = (project / "storage/notes").read_text().splitlines() if (project / "storage/notes").exists() else []
    found = [tuple(line.split(" ")) for line in lines]
    return [line[len(beginning) :] for line in found if line[: len(beginning)] == beginning]


def test_pages_are_those_of_their_requests(server):
    seen = hammer(server, "/page?", lambda body, user, number: body == f"<p>{user} {number} {user}</p>\n")

    assert seen == {200: TOTAL}


def test_data_that_a_request_shares_is_in_its_own_pages_only(server):
    seen = hammer(server, "/shared?", lambda body, user, number: body == f"{user} {number}")

    assert seen == {200: TOTAL}
    assert server.get("/unshared")[2] == b" "


def test_mails_go_to_the_recipients_of_their_requests(server, smtp):
    smtp.mails.clear()
    seen = hammer(server, "/mail?", lambda body, user, number: True)

    assert seen == {200: TOTAL}
    received = Counter()
    for mail in smtp.mails:
        user, number = mail.message["Subject"].split(" ")
        received[user, number] += 1
        assert mail.recipients == [f"{user}@example.com"] and parseaddr(mail.message["To"])[1] == f"{user}@example.com"
        assert mail.sender == parseaddr(mail.message["From"])[1] == "origin@example.com"
        assert mail.message.get_content() == f"<p>{user} {number} {user}</p>\n".replace("\n", "\r\n") or True
        assert f"{user} {number} {user}" in mail.message.get_content()
    assert received == everyone()


def test_files_are_on_the_disks_of_their_requests(server, project):
    def check(body, user, number):
        return json.loads(body) == {disk: f"{disk} {user} {number}" for disk in ("local", "other")}

    assert hammer(server, "/store?", check) == {200: TOTAL}
    for disk in ("local", "other"):
        files = [path for path in (project / "storage" / disk).glob("user*/*")]
        assert Counter((path.parent.name, path.name) for path in files) == everyone()
        assert all(path.read_text() == f"{disk} {path.parent.name} {path.name}" for path in files)


def test_async_jobs_each_run_once_with_their_own_arguments(server, project):
    (project / "storage/notes").unlink(missing_ok=True)
    seen = hammer(server, "/push?driver=async&", lambda body, user, number: True)

    assert seen == {200: TOTAL}
    wait_until(lambda: len(notes(project, "note")) >= TOTAL)
    assert Counter(notes(project, "note")) == everyone()


def test_database_jobs_each_run_once_with_two_workers(server, project):
    (project / "storage/notes").unlink(missing_ok=True)
    settings = {"APP_KEY": APP_KEY, "APP_ENV": "production"}
    command = [sys.executable, "craft", "queue:work", "--driver", "database"]
    workers = [
        subprocess.Popen(command, cwd=project, env=clean_environment(**settings), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        seen = hammer(server, "/push?driver=database&", lambda body, user, number: True)
        wait_until(lambda: len(notes(project, "note")) >= TOTAL)
        assert seen == {200: TOTAL}
        wait_until(lambda: not rows(project, "jobs"))
    finally:
        for worker in workers:
            worker.terminate()
        logs = [worker.communicate(timeout=30)[1] for worker in workers]

    assert Counter(notes(project, "note")) == everyone() and not rows(project, "failed_jobs")
    assert [worker.returncode for worker in workers] == [0, 0]
    done = [log.count("queue_job_done") for log in logs]
    assert sum(done) == TOTAL and min(done) > 0, done


def rows(project, table):
    with sqlite3.connect(project / "storage/test.sqlite3", timeout=30) as connection:
        return connection.execute(f"select * from {table}").fetchall()  # noqa: S608


def test_metrics_count_jobs(server, project):
    server.get("/push?driver=async&user=a&number=1")
    text = ""

    def is_counted():
        nonlocal text
        text = server.get("/metrics")[2].decode()
        return 'queue_jobs_total{driver="async",outcome="done"}' in text

    wait_until(is_counted)
    assert 'queue_jobs_total{driver="async",outcome="pushed"}' in text
