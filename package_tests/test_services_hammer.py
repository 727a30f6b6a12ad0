"""Views, mail, storage and queues on the production server: 16 clients at once, and exact counts."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from email.utils import parseaddr

import pytest

from package_tests.support.controllers import wait_until
from package_tests.support.hammer import CLIENTS, everyone, hammer
from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server, clean_environment, free_port
from package_tests.support.service_project import APP_KEY, migrate, service_project
from package_tests.support.smtp import SmtpServer

REQUESTS, MAIL_REQUESTS, DATABASE_REQUESTS = 25, 15, 8
"""Requests of each client."""
TOTAL, DATABASE_TOTAL = CLIENTS * REQUESTS, CLIENTS * DATABASE_REQUESTS


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


def notes(project, *beginning):
    """Return the rest of the lines of `storage/notes` that begin like this."""
    lines = (project / "storage/notes").read_text().splitlines() if (project / "storage/notes").exists() else []
    found = [tuple(line.split(" ")) for line in lines]
    return [line[len(beginning) :] for line in found if line[: len(beginning)] == beginning]


def test_pages_are_those_of_their_requests(server):
    seen = hammer(
        server.port, "/page?", REQUESTS, lambda body, user, number: body == f"<p>{user} {number} {user}</p>\n"
    )

    assert seen == {200: TOTAL}


def test_data_that_a_request_shares_is_in_its_own_pages_only(server):
    seen = hammer(server.port, "/shared?", REQUESTS, lambda body, user, number: body == f"{user} {number}")

    assert seen == {200: TOTAL}
    assert server.get("/unshared")[2] == b" "


def test_mails_go_to_the_recipients_of_their_requests(server, smtp):
    smtp.mails.clear()
    seen = hammer(server.port, "/mail?", MAIL_REQUESTS)

    assert seen == {200: CLIENTS * MAIL_REQUESTS}
    received = Counter()
    for mail in smtp.mails:
        user, number = mail.message["Subject"].split(" ")
        received[user, number] += 1
        assert mail.recipients == [f"{user}@example.com"] and parseaddr(mail.message["To"])[1] == f"{user}@example.com"
        assert mail.sender == parseaddr(mail.message["From"])[1] == "origin@example.com"
        assert f"{user} {number} {user}" in mail.message.get_content()
    assert received == everyone(MAIL_REQUESTS)


def test_files_are_on_the_disks_of_their_requests(server, project):
    def check(body, user, number):
        return json.loads(body) == {disk: f"{disk} {user} {number}" for disk in ("local", "other")}

    assert hammer(server.port, "/store?", REQUESTS, check) == {200: TOTAL}
    for disk in ("local", "other"):
        files = [path for path in (project / "storage" / disk).glob("user*/*")]
        assert Counter((path.parent.name, path.name) for path in files) == everyone(REQUESTS)
        assert all(path.read_text() == f"{disk} {path.parent.name} {path.name}" for path in files)


def test_async_jobs_each_run_once_with_their_own_arguments(server, project):
    (project / "storage/notes").unlink(missing_ok=True)
    seen = hammer(server.port, "/push?driver=async&", REQUESTS)

    assert seen == {200: TOTAL}
    wait_until(lambda: len(notes(project, "note")) >= TOTAL)
    assert Counter(notes(project, "note")) == everyone(REQUESTS)


def test_database_jobs_each_run_once_with_two_workers(server, project):
    (project / "storage/notes").unlink(missing_ok=True)
    settings = {"APP_KEY": APP_KEY, "APP_ENV": "production"}
    command = [sys.executable, "craft", "queue:work", "--driver", "database"]
    files = [project / f"worker-{number}.log" for number in range(2)]
    workers = []
    for file in files:
        with open(file, "wb") as log:
            workers.append(subprocess.Popen(command, cwd=project, env=clean_environment(**settings), stderr=log))
    try:
        wait_until(lambda: all("queue_worker_started" in file.read_text() for file in files))
        seen = hammer(server.port, "/push?driver=database&", DATABASE_REQUESTS)
        wait_until(lambda: len(notes(project, "note")) >= DATABASE_TOTAL)
        assert seen == {200: DATABASE_TOTAL}
        wait_until(lambda: not rows(project, "jobs"))
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait(30)
        logs = [file.read_text() for file in files]

    assert Counter(notes(project, "note")) == everyone(DATABASE_REQUESTS) and not rows(project, "failed_jobs")
    assert [worker.returncode for worker in workers] == [0, 0]
    done = [log.count("queue_job_done") for log in logs]
    assert sum(done) == DATABASE_TOTAL and min(done) > 0, done


def rows(project, table):
    with closing(sqlite3.connect(project / "storage/test.sqlite3", timeout=30)) as connection:
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


def test_term_waits_for_async_jobs(server, project):  # the last test of this module: it ends the server
    (project / "storage/notes").unlink(missing_ok=True)
    server.get("/slow?seconds=0.7&count=6")
    server.stop()

    assert server.process.returncode == 0
    assert len(notes(project, "begin")) == len(notes(project, "end")) == 6
    assert "queue_jobs_lost" not in server.output()
