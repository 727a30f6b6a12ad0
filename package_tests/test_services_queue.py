"""Queues: jobs in threads, jobs in a table, workers, and jobs that cannot be run."""

import contextlib
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pendulum
import pytest
from masonite.exceptions import QueueException
from masoniteorm.query import QueryBuilder

from package_tests.support import queue_jobs
from package_tests.support.controllers import wait_until
from package_tests.support.mysql import MysqlServer
from package_tests.support.postgres import PostgresServer
from package_tests.support.queue_jobs import Exits, FailedFails, Fails, FailsTwice, Note, Unreadable, calls, plain
from package_tests.support.servers import clean_environment
from package_tests.support.service_project import (
    APP_KEY,
    migrate,
    orm_database,
    service_application,
    service_project,
)
from zuplo_origin.http.requests import REQUEST_ID
from zuplo_origin.services import QueueProvider
from zuplo_origin.services.queues import QueueFull, Signer, Worker, _text

TABLES = """
create table jobs (id integer primary key, name text, queue text, payload blob, attempts integer, ran_at timestamp,
  available_at timestamp, reserved_at timestamp, created_at timestamp);
create table failed_jobs (id integer primary key, queue text, connection text, name text, driver text, payload blob,
  exception text, failed_at timestamp, created_at timestamp);
"""


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


@pytest.fixture
def database(tmp_path, monkeypatch):
    """Return a connection to the SQLite database that the ORM uses."""
    with orm_database(tmp_path / "queue.sqlite3", monkeypatch) as connection:
        connection.executescript(TABLES)
        yield connection


def application(folder, key=APP_KEY, **options):
    database = {"table": "jobs", "failed_table": "failed_jobs", "attempts": 3, "poll": 0.05, "tz": "UTC"}
    drivers = {"default": "async", "async": {"workers": 2}, "database": database, "amqp": {}, "redis": {}}
    for name, values in options.items():
        drivers[name] = {**drivers[name], **values} if isinstance(values, dict) else values
    return service_application(
        folder, QueueProvider, queue={"drivers": drivers}, application={"env": "testing", "key": key}
    )


@pytest.fixture
def queue(tmp_path):
    return application(tmp_path).make("queue")


def rows(database, table="jobs"):
    return [dict(row) for row in database.execute(f"select * from {table} order by id")]  # noqa: S608


@contextlib.contextmanager
def working(queue, until, /, **options):
    """Run a worker in a thread until the condition `until` holds."""
    worker = Worker(queue._with_options("database", options))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(until)
        yield worker
    finally:
        worker._stopping.set()
        thread.join(30)


def work(queue, until, /, **options):
    with working(queue, until, **options):
        pass


# -- async ------------------------------------------------------------------------------------------------------------


def test_async_job_is_run_in_a_scope_and_with_a_log_id_of_its_own(tmp_path):
    made = application(tmp_path)
    seen = []
    token = REQUEST_ID.set("of-the-request")
    with made.scope():
        made.bind("mark", "of the request")
        made.make("queue").push(lambda: seen.append((made.current_scope(), made.has("mark"), REQUEST_ID.get())))
        wait_until(lambda: seen)
    REQUEST_ID.reset(token)

    ((scope, has_mark, log_id),) = seen
    assert scope is not None and not has_mark and log_id not in (None, "of-the-request")


def test_async_driver_takes_instances_classes_functions_arguments_and_callbacks(queue):
    queue.push(Note("a"), Note("b"), args=("argument",))
    queue.push(Note, args=("of a class",))
    queue.push(plain, args=("c",), queue="other")
    queue.push(Note("d"), callback="other", driver="async")
    wait_until(lambda: len(calls) == 5)

    expected = {("a", "argument"), ("b", "argument"), ("of a class",), ("plain", "c"), ("other", "d")}
    assert set(calls) == expected


def test_async_job_that_fails_is_logged_and_its_method_failed_is_called(queue, caplog):
    caplog.set_level("INFO")
    queue.push(Fails("a"), Exits("b"), FailedFails("c"), Note("d"))
    wait_until(lambda: len(caplog.records) == 5)

    assert ("failed", ["args", "callback", "obj"], "it fails") in calls and ("d",) in calls
    failed = [record.fields["job"] for record in caplog.records if record.msg == "queue_job_failed"]
    assert sorted(failed) == ["Exits", "FailedFails", "FailedFails", "Fails"]
    assert "AttributeError: it fails" in caplog.text


def test_async_driver_runs_no_more_jobs_at_once_than_it_has_workers(tmp_path):
    queue, running, most, lock = application(tmp_path).make("queue"), [], [], threading.Lock()

    def job():
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.02)
        with lock:
            running.pop()

    queue.push(*[job] * 8)
    wait_until(lambda: len(most) == 8 and not running)
    assert max(most) == 2


def test_async_driver_rejects_jobs_when_too_many_wait(tmp_path):
    made = application(tmp_path, **{"async": {"workers": 1, "size": 2}})
    gate = threading.Event()
    for _ in range(3):  # one runs, two wait
        made.make("queue").push(lambda: gate.wait(30))
        wait_until(lambda: made.make("queue.async")._running == 1)
    with pytest.raises(QueueFull) as raised:
        made.make("queue").push(plain)

    gate.set()
    assert (raised.value.status, raised.value.headers) == (503, {"Retry-After": "1"})


def test_blocking_driver_runs_the_job_before_push_returns(tmp_path):
    application(tmp_path, **{"async": {"blocking": True}}).make("queue").push(Fails("a"), Note("b"))

    assert calls == [("try", "a"), ("failed", ["args", "callback", "obj"], "it fails"), ("b",)]


def test_async_jobs_are_finished_at_the_end_and_those_that_last_too_long_are_logged(tmp_path, caplog):
    made, gate = application(tmp_path, **{"async": {"workers": 1}}), threading.Event()
    made.make("queue").push(lambda: time.sleep(0.1), Note("a"))
    made.make("queue.async").stop(30)
    assert calls == [("a",)] and "queue_jobs_lost" not in caplog.text

    made.make("queue").push(lambda: gate.wait(30), Note("b"), Note("c"))
    wait_until(lambda: made.make("queue.async")._running == 1)
    made.make("queue.async").stop(0.05)
    gate.set()
    (lost,) = [record.fields for record in caplog.records if record.msg == "queue_jobs_lost"]
    assert lost == {"waiting": 2, "running": 1}


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda queue: queue.push(plain, delay="1 minute"), "'async' has no delay"),
        (lambda queue: queue.push(plain, driver="amqp"), "'amqp' is not supported.*use 'database'"),
        (lambda queue: queue.push(plain, driver="redis"), "'redis' is not supported"),
        (lambda queue: queue.push(plain, driver="pigeon"), "no queue driver 'pigeon'"),
        (lambda queue: queue.consume({"driver": "async"}), "no worker can"),
        (lambda queue: queue.consume({"driver": "amqp"}), "'amqp' is not supported"),
        (lambda queue: queue.retry({"driver": None}), "'async' keeps no failed jobs"),
    ],
)
def test_what_a_driver_cannot_do_is_an_error_with_the_reason(queue, act, why):
    with pytest.raises(QueueException, match=why):
        act(queue)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"default": "amqp"}, "config/queue.py: the driver 'amqp' is not supported"),
        ({"default": "redis"}, "config/queue.py: the driver 'redis' is not supported"),
        ({"default": "pigeon"}, "config/queue.py: default: invalid driver 'pigeon'"),
        ({"async": {"mode": "multiprocess"}}, "config/queue.py: the driver 'async' has only the mode 'threading'"),
        (
            {"default": "database", "key": None},
            "APP_KEY is not set; the queue driver 'database' signs jobs with it: set 32 random bytes or more (",
        ),
        ({"default": "database", "key": "short"}, "APP_KEY is shorter; the queue driver 'database' signs jobs with it"),
    ],
)
def test_configuration_that_cannot_work_stops_the_start(tmp_path, options, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        application(tmp_path, **options)

    error = capsys.readouterr().err
    assert ended.value.code == 3 and error.startswith(f"Cannot start: {sentence}") and error.count("\n") == 1


# -- database ---------------------------------------------------------------------------------------------------------


def push(queue, /, *jobs, **options):
    queue.push(*jobs, driver="database", **options)


def test_database_job_is_run_once_and_removed(queue, database):
    push(queue, Note("a"), args=("argument",))
    push(queue, plain, args=("b",))
    push(queue, Note("c"), callback="other")
    push(queue, Note, args=("d",))
    assert [row["name"] for row in rows(database)] == ["Note", "plain", "Note", "Note"]
    work(queue, lambda: len(calls) == 4 and not rows(database))

    assert calls == [("a", "argument"), ("plain", "b"), ("other", "c"), ("d",)]


def test_worker_takes_jobs_of_its_queue_only(queue, database):
    push(queue, Note("other"), queue="other")
    push(queue, Note("own"), queue="mine")
    work(queue, lambda: len(rows(database)) == 1, queue="mine")

    assert calls == [("own",)] and rows(database)[0]["queue"] == "other"


def test_delayed_job_is_not_run_before_its_time(queue, database):
    push(queue, Note("late"), delay="1 hour")
    push(queue, Note("now"))
    work(queue, lambda: len(rows(database)) == 1)
    assert calls == [("now",)]

    due = pendulum.parse(rows(database)[0]["available_at"])
    assert 3500 < (due - pendulum.now("UTC")).total_seconds() <= 3600
    database.execute("update jobs set available_at = '2020-01-01 00:00:00'")
    work(queue, lambda: not rows(database))
    assert calls == [("now",), ("late",)]


def test_times_are_in_the_zone_of_the_configuration(tmp_path, database):
    queue = application(tmp_path, database={"tz": "America/Los_Angeles"}).make("queue")
    push(queue, Note("a"))
    at = pendulum.parse(rows(database)[0]["available_at"], tz="America/Los_Angeles")
    assert abs((pendulum.now("UTC") - at).total_seconds()) < 60
    work(queue, lambda: not rows(database))

    assert calls == [("a",)]


def test_delay_that_is_no_time_is_an_error(queue, database):
    with pytest.raises(QueueException, match="'5 parsecs' is not a time"):
        push(queue, plain, delay="5 parsecs")
    assert rows(database) == []


def test_job_that_fails_is_tried_again_and_then_stands_in_failed_jobs(queue, database, caplog):
    push(queue, Fails("a"), FailsTwice("b"))
    with caplog.at_level("INFO"):
        work(queue, lambda: not rows(database))

    assert (
        calls.count(("try", "a")) == 3 and calls.count(("failed", ["args", "callback", "obj", "rid"], "it fails")) == 1
    )
    (failed,) = rows(database, "failed_jobs")
    assert (failed["name"], failed["queue"], failed["driver"]) == ("Fails", "default", "database")
    assert failed["exception"] == "AttributeError: it fails" and failed["failed_at"]
    attempts = [
        r.fields["attempt"] for r in caplog.records if r.msg == "queue_job_failed" and r.fields["job"] == "Fails"
    ]
    assert attempts == [1, 2, 3] and caplog.text.count("AttributeError: it fails") == 3


def test_attempts_of_the_worker_take_precedence(queue, database):
    push(queue, Fails("a"))
    work(queue, lambda: not rows(database), attempts="1")

    assert calls.count(("try", "a")) == 1 and len(rows(database, "failed_jobs")) == 1


def test_failed_job_is_only_removed_without_a_table_of_failed_jobs(tmp_path, database):
    queue = application(tmp_path, database={"failed_table": None, "attempts": 1}).make("queue")
    push(queue, Fails("a"))
    work(queue, lambda: not rows(database))

    assert rows(database, "failed_jobs") == [] and ("failed", ["args", "callback", "obj", "rid"], "it fails") in calls


def test_retry_puts_failed_jobs_of_a_queue_back(queue, database, capsys):
    push(queue, Fails("a"))
    push(queue, Fails("b"), queue="other")
    work(queue, lambda: len(rows(database, "failed_jobs")) == 1, attempts=1)
    work(queue, lambda: len(rows(database, "failed_jobs")) == 2, attempts=1, queue="other")
    queue.retry({"driver": "database"})

    (retried,), (left,) = rows(database), rows(database, "failed_jobs")
    assert (retried["queue"], retried["attempts"], left["queue"]) == ("default", 0, "other")
    assert "Added 1 failed job(s) back to the queue" in capsys.readouterr().out
    calls.clear()
    work(queue, lambda: not rows(database), attempts=1)
    assert ("try", "a") in calls
    queue.retry({"driver": "database", "queue": "nothing"})
    assert "No failed jobs found." in capsys.readouterr().out


def poisoned(queue, payload):
    queue._with_options("database", {})._insert("Poison", payload, "default", "2020-01-01 00:00:00")


class Evil:
    def __reduce__(self):
        return (queue_jobs.plain, ("evil",))


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (lambda: pickle.dumps({"obj": Evil(), "args": (), "callback": "handle"}), "its signature is wrong"),
        (lambda: b"", "its signature is wrong"),
        (lambda: "text", "its signature is wrong"),
        (lambda: b"zuplo_origin.job.1\n", "its signature is wrong"),
        (lambda: b"zuplo_origin.job.1\n" + b"\0" * 32 + pickle.dumps(Evil()), "its signature is wrong"),
        (lambda: signed({"obj": Evil(), "args": (), "callback": "x"})[:-1], "its signature is wrong"),
        (
            lambda: signed({"obj": Note("a"), "args": ()}, "another key of thirty-two bytes or more"),
            "its signature is wrong",
        ),
        (
            lambda: signed({"obj": Unreadable("a"), "args": (), "callback": "handle"}),
            "LookupError: this version has no such",
        ),
        (lambda: signed({"args": ()}), "it cannot be read: KeyError: 'obj'"),
        (lambda: signed(["no dict"]), "it cannot be read: TypeError"),
    ],
)
def test_job_that_cannot_be_read_is_moved_to_failed_jobs_at_once(queue, database, payload, why, caplog):
    made = payload()
    poisoned(queue, made)
    push(queue, Note("after"))
    work(queue, lambda: not rows(database))

    (failed,) = rows(database, "failed_jobs")
    assert calls == [("after",)] and why in failed["exception"]
    assert failed["payload"] == made
    (moved,) = [record.fields for record in caplog.records if record.msg == "queue_job_moved"]
    assert moved["attempt"] == 1 and why in moved["why"]


def signed(job, key=APP_KEY):
    made = service_application("/nowhere", application={"env": "testing", "key": key})
    return Signer(made).dump(job)


def test_job_whose_class_has_gone_is_moved_to_failed_jobs(queue, database, monkeypatch):
    push(queue, Note("a"))
    monkeypatch.delattr(queue_jobs, "Note")
    work(queue, lambda: not rows(database))

    assert "AttributeError" in rows(database, "failed_jobs")[0]["exception"]


def test_reason_of_a_failed_job_is_one_that_a_database_can_keep(queue, database):
    push(queue, raises_odd_text)
    work(queue, lambda: not rows(database), attempts=1)

    assert rows(database, "failed_jobs")[0]["exception"] == "ValueError: a\\0b"
    assert _text("\ud800") == "\\ud800" and len(_text("a" * 10_000)) == 5000


def raises_odd_text():
    raise ValueError("a\0b")


@pytest.mark.parametrize(("table", "command"), [("jobs", "queue:table"), ("failed_jobs", "queue:failed")])
def test_worker_does_not_start_without_its_tables(queue, database, table, command):
    database.execute(f"drop table {table}")
    with pytest.raises(QueueException, match=f"the table '{table}' cannot be read; run craft {command}"):
        queue.consume({"driver": "database"})


def test_keys_for_jobs_are_derived(queue, database):
    push(queue, plain, args=("a",))
    payload = rows(database)[0]["payload"]

    import hashlib
    import hmac

    assert payload[19:51] != hmac.digest(APP_KEY.encode(), payload[51:], hashlib.sha256)


def test_push_without_a_key_is_an_error_and_nothing_is_written(tmp_path, database):
    with pytest.raises(QueueException, match="APP_KEY is not set"):
        push(application(tmp_path, key=None).make("queue"), plain)
    with pytest.raises(QueueException, match="APP_KEY is not set"):
        application(tmp_path, key=None).make("queue").consume({"driver": "database"})

    assert rows(database) == []


def test_several_workers_claim_each_job_once(queue, database):
    push(queue, *[Note(number) for number in range(40)])
    driver, claimed, barrier = queue._with_options("database", {}), [], threading.Barrier(4)

    def claim():
        barrier.wait()
        while True:
            try:
                job = driver.claim()
            except Exception as error:
                assert "locked" in str(error)
                continue
            if job is None:
                return
            claimed.append((job.id, job.attempt))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == [(number, 1) for number in range(1, 41)]


@pytest.mark.parametrize("then", ["", "update jobs set reserved_at = null"])
def test_two_workers_that_have_read_the_same_row_do_not_both_claim_it(queue, database, monkeypatch, then):
    push(queue, Note("a"))
    driver, others = queue._with_options("database", {}), []
    update = QueryBuilder.update

    def update_after_another(self, *arguments, **named):
        monkeypatch.setattr(QueryBuilder, "update", update)
        others.append(driver.claim())
        database.execute(then)  # the other worker's attempt may have ended already
        return update(self, *arguments, **named)

    monkeypatch.setattr(QueryBuilder, "update", update_after_another)

    assert driver.claim() is None and others[0].attempt == 1


def test_claim_of_a_worker_that_died_expires_and_that_of_a_living_one_does_not(queue, database):
    push(queue, Note("a"))
    driver = queue._with_options("database", {"retry_after": 60})
    first = driver.claim()
    assert driver.claim() is None

    database.execute("update jobs set reserved_at = '2020-01-01 00:00:00'")
    driver.renew(first)
    assert driver.claim() is None

    database.execute("update jobs set reserved_at = '2020-01-01 00:00:00'")
    second = driver.claim()
    driver.remove(first)  # the first worker was only slow: the job is no longer its own
    driver.renew(first)
    assert second.attempt == 2 and len(rows(database)) == 1
    driver.remove(second)
    assert rows(database) == []


def test_worker_renews_its_claim_while_the_job_runs(tmp_path, database):
    queue, gate = application(tmp_path, database={"retry_after": 0.3}).make("queue"), threading.Event()
    queue_jobs.gate = gate
    push(queue, waits)
    with working(queue, lambda: ("begins",) in calls):
        database.execute("update jobs set reserved_at = '2020-01-01 00:00:00'")
        wait_until(lambda: rows(database)[0]["reserved_at"] > "2021")
        gate.set()
        wait_until(lambda: not rows(database))


def waits():
    calls.append(("begins",))
    queue_jobs.gate.wait(30)


def test_job_that_ends_its_workers_is_moved_to_failed_jobs(queue, database):
    push(queue, Note("a"))
    database.execute("update jobs set attempts = 3, reserved_at = '2020-01-01 00:00:00'")
    work(queue, lambda: not rows(database))

    assert (
        calls == [] and rows(database, "failed_jobs")[0]["exception"] == "its workers ended while they ran it, 3 times"
    )


def test_worker_goes_on_when_the_database_is_back(queue, database, caplog):
    push(queue, Note("before"))
    with caplog.at_level("INFO"), working(queue, lambda: not rows(database)):
        database.execute("alter table jobs rename to gone")
        wait_until(lambda: "queue_database_down" in caplog.text)
        database.execute("alter table gone rename to jobs")
        push(queue, Note("after"))
        wait_until(lambda: ("after",) in calls and not rows(database))

    assert [record.msg for record in caplog.records].count("queue_database_down") == 1
    assert "queue_database_back" in [record.msg for record in caplog.records]


def test_job_that_succeeded_while_the_database_went_is_not_run_again(queue, database, caplog):
    push(queue, breaks_the_table)
    queue_jobs.database = database
    with working(queue, lambda: "queue_database_down" in caplog.text):
        database.execute("alter table gone rename to jobs")
        wait_until(lambda: not rows(database))

    assert calls == [("ran",)] and rows(database, "failed_jobs") == []


def breaks_the_table():
    calls.append(("ran",))
    queue_jobs.database.execute("alter table jobs rename to gone")


# -- processes --------------------------------------------------------------------------------------------------------


PUSH = """
import sys
sys.argv = ["craft"]
from wsgi import application
from app.jobs.Jobs import *
push = application.make("queue").push
"""
PUSH_SOME = """
push(Slow(0.5), Note("after"), driver="database", queue="slow")
push(Dies(), InScope(1), InScope(2), driver="database", queue="dies")
"""
PUSH_MANY = """
push(*[Slow(0.02, number) for number in range(60)], driver="database", queue="many")
"""
SETTINGS = {"APP_KEY": APP_KEY, "APP_ENV": "production", "MAIL_PORT": "1"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = service_project(tmp_path_factory.mktemp("queue") / "project")
    migrate(project)
    push_in(project, PUSH_SOME)
    return project


def push_in(project, code, **settings):
    environment = clean_environment(**SETTINGS, **settings)
    subprocess.run([sys.executable, "-c", PUSH + code], cwd=project, env=environment, check=True, timeout=60)


@contextlib.contextmanager
def worker_process(project, queue, log="worker.log", **settings):
    environment = clean_environment(**SETTINGS, **({"RETRY_AFTER": "1"} | settings))
    command = [sys.executable, "craft", "queue:work", "--driver", "database", "--queue", queue, "--attempts", "1"]
    with open(project / log, "w") as output:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def noted(project):
    file = project / "storage/notes"
    return file.read_text().splitlines() if file.exists() else []


def test_term_finishes_the_job_that_runs_and_takes_no_other(project):
    with worker_process(project, "slow") as process:
        wait_until(lambda: "begin 0.5" in noted(project))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert noted(project) == ["begin 0.5", "end 0.5"]
    assert "queue_worker_stopped" in (project / "worker.log").read_text()
    (project / "storage/notes").unlink()


def test_job_that_kills_its_worker_is_moved_and_the_others_run_in_scopes_of_their_own(project):
    with worker_process(project, "dies") as process:
        assert process.wait(60) == -signal.SIGKILL
    with (
        worker_process(project, "dies"),
        contextlib.closing(sqlite3.connect(project / "storage/test.sqlite3", isolation_level=None)) as connection,
    ):
        wait_until(lambda: connection.execute("select * from failed_jobs").fetchall() and len(noted(project)) == 5)
        failed = connection.execute("select name, exception from failed_jobs").fetchall()

    assert noted(project) == ["dies", "scope 1 False False", "scope ended 1", "scope 2 False False", "scope ended 2"]
    assert failed == [("Dies", "its workers ended while they ran it, 1 times")]


@pytest.mark.parametrize("database", ["postgres", "mysql"])
def test_workers_run_each_job_once_although_the_database_restarts(database, tmp_path):
    with PostgresServer() if database == "postgres" else MysqlServer() as server:
        project = service_project(tmp_path / "project")
        settings = {"DB_DRIVER": database, "DB_PORT": str(server.port), "RETRY_AFTER": "90"}
        migrate(project, **settings)
        push_in(project, PUSH_MANY, **settings)
        logs = ("one.log", "two.log")
        with worker_process(project, "many", logs[0], **settings), worker_process(project, "many", logs[1], **settings):
            wait_until(lambda: all("queue_job_done" in (project / log).read_text() for log in logs))
            server.stop()
            wait_until(lambda: all("queue_database_down" in (project / log).read_text() for log in logs))
            server.start()
            wait_until(lambda: len([line for line in noted(project) if line.startswith("end")]) >= 60)
            wait_until(lambda: list(server.query("select count(*) from jobs")) == [(0,)])
        failed = list(server.query("select name from failed_jobs"))

    ended = [line.split(" ")[2] for line in noted(project) if line.startswith("end")]
    assert sorted(ended, key=int) == [str(number) for number in range(60)] and failed == []
    assert all("queue_database_back" in (project / log).read_text() for log in logs)
