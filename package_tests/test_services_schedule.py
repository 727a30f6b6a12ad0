"""The schedule: when tasks are due, how they are run, and on which of several machines."""

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pendulum
import pytest
from masonite.scheduling import CommandTask, Task
from masoniteorm.connections import ConnectionResolver

from package_tests.support.database import sqlite_details
from package_tests.support.mysql import MysqlServer
from package_tests.support.postgres import PostgresServer
from package_tests.support.processes import forked_python
from package_tests.support.redis import RedisServer
from package_tests.support.servers import ROOT
from package_tests.support.service_project import service_application
from zuplo_origin.services import CacheProvider, DatabaseProvider, ScheduleProvider
from zuplo_origin.services.schedule import is_due
from zuplo_origin.services.start import complete

SUNDAY = pendulum.datetime(2026, 11, 1, 0, 0)
ran = []


class Noted(Task):
    name = "noted"

    def handle(self):
        ran.append("noted")


class Other(Task):
    def handle(self):
        ran.append("other")


class Broken(Task):
    def handle(self):
        raise RuntimeError("broken")


class Decides(Task):
    def should_run(self, date=None):
        return True

    def handle(self):
        ran.append("decides")


@pytest.fixture
def application(tmp_path):
    ran.clear()
    return service_application(tmp_path, ScheduleProvider)


@pytest.fixture
def schedule(application):
    return application.make("scheduler")


@pytest.mark.parametrize(
    ("task", "due", "not_due"),
    [
        (Task().every_minute(), ["00:00", "13:07"], []),
        (Task().every_15_minutes(), ["00:00", "13:45"], ["13:46"]),
        (Task().every_30_minutes(), ["13:30"], ["13:45"]),
        (Task().every_45_minutes(), ["13:45", "13:00"], ["13:30"]),
        (Task().every("7 minutes"), ["13:49"], ["13:50"]),
        (Task().hourly(), ["00:00", "13:00"], ["13:01"]),
        (Task().every("6 hours"), ["18:00"], ["13:00", "18:01"]),
        (Task().daily(), ["00:00"], ["00:01", "12:00"]),
        (Task().daily_at(17), ["17:00"], ["00:00", "17:01", "5:00"]),
        (Task().daily_at("17:30"), ["17:30"], ["17:00", "00:00"]),
        (Task().daily().at("8:05"), ["08:05"], ["00:00", "08:00"]),
        (Task().at(17), ["17:00"], ["16:00"]),
        (Task().at_twice([8, 17]), ["08:00", "17:00"], ["08:01", "00:00"]),
        (Task().weekly(), ["00:00"], ["00:01"]),
        (Task().weekly().at(4), ["04:00"], ["00:00"]),
        (Task().monthly(), ["00:00"], ["00:01"]),
        (Task().monthly().at("3:30"), ["03:30"], ["00:00"]),
        (Task(), [], ["00:00", "13:07"]),
    ],
)
def test_task_is_due_at_its_times_alone(task, due, not_due):
    for times, expected in ((due, True), (not_due, False)):
        for time in times:
            hour, _, minute = time.partition(":")
            assert is_due(task, SUNDAY.at(int(hour), int(minute))) is expected, time


def test_weeks_begin_on_sunday_and_months_on_their_first_day():
    assert not is_due(Task().weekly(), SUNDAY.add(days=1)) and is_due(Task().weekly(), SUNDAY.add(days=7))
    assert not is_due(Task().monthly(), SUNDAY.add(days=1)) and is_due(Task().monthly(), SUNDAY.add(months=1))
    assert not is_due(Task().every("5 months"), SUNDAY) and is_due(Task().every("11 months"), SUNDAY)
    assert [day for day in range(6) if is_due(Task().every("3 days"), SUNDAY.add(days=day))] == [1, 4]


def test_times_are_those_of_the_zone_of_the_task():
    task = Task().daily_at(9)
    task.timezone = "America/New_York"

    assert is_due(task, SUNDAY.add(days=3).at(14)) and not is_due(task, SUNDAY.add(days=3).at(9))


def test_period_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="'1 fortnight' is not a period"):
        is_due(Task().every("1 fortnight"), SUNDAY)


def test_tasks_that_are_due_are_run(schedule):
    schedule.add(Noted().daily(), Other().daily_at(5), Decides(), Other)

    assert schedule.run(now=SUNDAY) == 0
    assert ran == ["noted", "decides"]


def test_broken_task_does_not_stop_the_others_and_is_reported(schedule, caplog):
    schedule.add(Broken().every_minute(), Noted().every_minute(), Task().every("1 fortnight"), Other().every_minute())

    assert schedule.run(now=SUNDAY) == 1
    assert ran == ["noted", "other"] and "RuntimeError: broken" in caplog.text
    assert [r.fields["task"] for r in caplog.records if r.msg == "task_failed"] == ["Broken", "Task"]


def test_task_is_run_by_its_name_or_class_and_with_force(schedule, caplog):
    schedule.add(Noted().daily(), Other, Broken().daily())

    for name in ("noted", "Noted", "Other"):
        assert schedule.run(run_name=name, force=True, now=SUNDAY.at(13)) == 0
    assert schedule.run(run_name="noted", now=SUNDAY.at(13)) == 0
    assert ran == ["noted", "noted", "other"]
    assert schedule.run(run_name="Nothing", force=True) == 1
    (unknown,) = [record.fields for record in caplog.records if record.msg == "task_unknown"]
    assert unknown == {"task": "Nothing", "known": "noted, Other, Broken"}


def test_each_task_has_a_scope_of_its_own(application, schedule):
    class Scoped(Task):
        def handle(self):
            scope = application.current_scope()
            scope.at_end(lambda: ran.append("ended"))
            ran.append((scope is not None, application.has("mark")))
            application.bind("mark", True)

    schedule.add(Scoped().every_minute(), Scoped().every_minute())
    schedule.run(now=SUNDAY)

    assert ran == [(True, False), "ended"] * 2


def test_command_is_run_in_the_project_and_its_status_counts(application, schedule, tmp_path, caplog):
    schedule.add(CommandTask("""sh -c 'pwd > "here and there"'"""), CommandTask("touch daily").daily_at(5))
    assert schedule.run(now=SUNDAY) == 0
    assert (tmp_path / "here and there").read_text().strip() == str(tmp_path) and not (tmp_path / "daily").exists()

    schedule.add(CommandTask("false"), CommandTask("no-such-program"))
    assert schedule.run(now=SUNDAY) == 1
    assert "'false' ended with status 1" in caplog.text and "no-such-program" in caplog.text


# -- one of several machines ------------------------------------------------------------------------------------------

MACHINE = """
import os, sys, time
from pathlib import Path

import pendulum
from masonite.scheduling import CommandTask, Task
from masoniteorm.connections import ConnectionResolver

from package_tests.support.database import mysql_details, postgres_details, sqlite_details
from package_tests.support.service_project import service_application
from zuplo_origin.services import CacheProvider, DatabaseProvider, ScheduleProvider

kind, port, folder, count, what = sys.argv[1:]
FOLDER = Path(folder)


def note(*words):
    with open(FOLDER / "notes", "ab", buffering=0) as file:
        file.write((" ".join(words) + "\\n").encode())


class Report(Task):
    name = "report"

    def handle(self):
        note("report")


class Everywhere(Task):
    def handle(self):
        note("everywhere")


class Dies(Task):
    def handle(self):
        note(f"dies-{minute}")
        os.kill(os.getpid(), 9)


providers, config = [ScheduleProvider], {}
if kind in ("sqlite", "postgres", "mysql"):
    details = sqlite_details(FOLDER, database=str(FOLDER / "runs.sqlite3"))
    if kind != "sqlite":
        details = {"postgres": postgres_details, "mysql": mysql_details}[kind](int(port))
    databases = {"default": "main", "main": details}
    config["database"] = {"databases": databases, "db": ConnectionResolver().set_connection_details(databases)}
    providers.append(DatabaseProvider)
else:
    redis = {"driver": "redis", "host": "127.0.0.1", "port": port if kind == "redis" else 1, "name": "orders"}
    stores = {"default": kind, "redis": redis, "file": {"driver": "file", "location": str(FOLDER / "cache")}}
    config["cache"] = {"stores": stores}
    providers.append(CacheProvider)
application = service_application(FOLDER, *providers, **config)
schedule = application.make("scheduler")
if what == "dies":
    schedule.add(Dies().every_minute().on_one_server())
else:
    schedule.add(Report().every_minute().on_one_server(), Everywhere().every_minute())
    for number in "12":
        schedule.add(CommandTask(f"sh -c 'echo command-{number} >>notes'").every("10 minutes").on_one_server())
for minute in range(int(count)):
    if what != "dies":  # both machines begin the minute at once
        (FOLDER / f"at-{minute}-{os.getpid()}").touch()
        end = time.monotonic() + 30
        while len(list(FOLDER.glob(f"at-{minute}-*"))) < 2:
            assert time.monotonic() < end
    assert schedule.run(now=pendulum.datetime(2031, 1, 1, 4, 0).add(minutes=minute)) == 0
"""


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (Task().daily_at("25:30"), "invalid time '25:30'"),
        (Task().daily_at("17:60"), "invalid time '17:60'"),
        (Task().daily_at("noon"), "invalid time 'noon'"),
        (Task().at(24), "invalid time 24"),
        (Task().at_twice([8, 25]), "invalid time 25"),
        (Task().every("often"), "invalid period 'often'"),
        (Task().every("2 fortnights"), "invalid period '2 fortnights'"),
        (type("Abroad", (Task,), {"timezone": "Europe/Atlantis", "run_at": 17}), "invalid timezone 'Europe/Atlantis'"),
        (Task().daily_at("8:05"), None),
        (Task().daily_at("17"), None),
        (Task().at_twice((0, 23)), None),
        (Task().monthly().at("23:59"), None),
        (type("Abroad", (Task,), {"timezone": "Asia/Tokyo", "run_every_hour": True}), None),
    ],
)
def test_task_that_would_never_be_due_is_a_problem_at_start(application, task, problem):
    application.make("scheduler").add(task)
    (provider,) = (each for each in application.get_providers() if isinstance(each, ScheduleProvider))
    found = list(provider.problems_at_start())

    assert [each.partition(": ")[2].partition(";")[0] for each in found] == ([problem] if problem else [])


@pytest.mark.parametrize("task", [Task().every_minute().on_one_server, [Task()], "report", None, print])
def test_only_tasks_can_be_added(schedule, task):
    with pytest.raises(TypeError, match="is not a task; expected a Task"):
        schedule.add(Task(), task)

    assert schedule.tasks == []


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def mysql():
    with MysqlServer() as server:
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres", "mysql", "file", "redis"])
def store(request, tmp_path):
    """Return the kind of a store that two machines share, and its port. It has the table `schedule_runs`."""
    if request.param in ("postgres", "mysql"):
        server = request.getfixturevalue(request.param)
        server.query("DROP TABLE IF EXISTS schedule_runs")
        server.query(CLAIMS)
        return request.param, server.port
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "runs.sqlite3")) as connection:
            connection.execute(CLAIMS)
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        server.client.flushall()
        return "redis", server.port
    return request.param, 0


CLAIMS = "CREATE TABLE schedule_runs (id VARCHAR(64) PRIMARY KEY, task VARCHAR(190), due_at BIGINT, host VARCHAR(255))"
MINUTES = 20


def machine(folder, store, count, what="runs"):
    """Run the schedule of `count` minutes in a process of its own, and return the completed process."""
    return forked_python(ROOT, "-c", MACHINE, store[0], str(store[1]), str(folder), str(count), what)


def test_task_on_one_server_runs_once_each_time_on_two_machines(store, tmp_path):
    with ThreadPoolExecutor(2) as threads:
        for ended in threads.map(lambda _: machine(tmp_path, store, MINUTES), range(2)):
            assert ended.returncode == 0, ended.stderr

    expected = {"report": MINUTES, "everywhere": 2 * MINUTES, "command-1": MINUTES // 10, "command-2": MINUTES // 10}
    assert Counter((tmp_path / "notes").read_text().split()) == expected


def test_machine_that_dies_does_not_block_the_next_time(store, tmp_path):
    assert [machine(tmp_path, store, 2, "dies").returncode for _ in range(3)] == [-9, -9, 0]
    assert (tmp_path / "notes").read_text().split() == ["dies-0", "dies-1"]


@pytest.fixture
def cached(tmp_path):
    """Return an application whose cache is in files."""
    ran.clear()
    stores = {"default": "file", "file": {"driver": "file", "location": str(tmp_path / "cache")}}
    return service_application(tmp_path, ScheduleProvider, CacheProvider, cache={"stores": stores})


def test_task_that_has_run_is_run_again_in_the_next_minute_and_with_force(cached, caplog):
    caplog.set_level("INFO")
    schedule = cached.make("scheduler")
    schedule.add(Noted().every_minute().on_one_server())
    for moment in (SUNDAY, SUNDAY.add(seconds=59), SUNDAY.add(seconds=60)):
        assert schedule.run(now=moment) == 0
    assert ran == ["noted"] * 2
    assert [record.fields for record in caplog.records if record.msg == "task_runs_elsewhere"] == [{"task": "noted"}]
    assert schedule.run(now=SUNDAY, force=True) == 0 and len(ran) == 3


def test_zone_of_a_machine_does_not_matter(cached):
    schedule = cached.make("scheduler")
    schedule.add(Noted().every_minute().on_one_server())
    for zone in ("UTC", "America/New_York"):
        schedule.run(now=SUNDAY.in_timezone(zone))

    assert ran == ["noted"]


def test_task_is_not_run_if_the_claim_cannot_be_kept(application, schedule, caplog):
    schedule.add(Noted().every_minute().on_one_server())

    assert schedule.run(now=SUNDAY) == 1 and ran == []
    assert "on_one_server needs DatabaseProvider or CacheProvider" in caplog.text


def test_class_can_say_that_it_runs_on_one_server(cached):
    class Once(Noted):
        run_every_minute = one_server = True

    schedule = cached.make("scheduler")
    schedule.add(Once)
    for _ in range(2):
        schedule.run(now=SUNDAY)

    assert ran == ["noted"]


def test_local_lock_is_reported_in_production(tmp_path, caplog):
    for env, expected in (("testing", []), ("production", [{"task": "noted", "store": "file"}])):
        stores = {"default": "file", "file": {"driver": "file", "location": str(tmp_path / env)}}
        application = service_application(
            tmp_path, ScheduleProvider, CacheProvider, cache={"stores": stores}, application={"env": env}
        )
        application.make("scheduler").add(Noted().every_minute().on_one_server())
        application.make("scheduler").run(now=SUNDAY)
        assert [record.fields for record in caplog.records if record.msg == "task_lock_is_local"] == expected


def test_redis_is_preferred_to_a_database_in_a_file(redis, tmp_path):
    databases = {"default": "main", "main": sqlite_details(tmp_path)}  # without the table
    database = {"databases": databases, "db": ConnectionResolver().set_connection_details(databases)}
    stores = {"default": "redis", "redis": {"driver": "redis", "host": "127.0.0.1", "port": redis.port, "name": "x"}}
    ran.clear()
    for _ in range(2):
        application = service_application(
            tmp_path,
            *(ScheduleProvider, CacheProvider, DatabaseProvider),
            database=database,
            cache={"stores": stores},
        )
        application.make("scheduler").add(Noted().every_minute().on_one_server())
        assert application.make("scheduler").run(now=SUNDAY) == 0

    assert ran == ["noted"]


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        ([Noted().daily().on_one_server(), Noted().daily()], None),
        ([Noted().daily().on_one_server(), Noted().daily_at(5).on_one_server()], None),
        ([CommandTask("a").daily().on_one_server(), CommandTask("b").daily().on_one_server()], None),
        ([Noted().daily().on_one_server(), Noted().daily().on_one_server()], "task noted: another task on one server"),
        ([CommandTask("a").on_one_server(), CommandTask("a").on_one_server()], "task CommandTask: another task on one"),
    ],
)
def test_two_tasks_with_one_claim_stop_the_start(cached, capsys, tasks, problem):
    cached.make("scheduler").add(*tasks)
    if problem is None:
        return complete(cached, ())
    with pytest.raises(SystemExit):
        complete(cached, ())
    assert capsys.readouterr().err.startswith(f"Cannot start: {problem}")


def test_claim_without_a_store_stops_the_start(application, schedule, capsys):
    schedule.add(Noted().daily().on_one_server())
    with pytest.raises(SystemExit):
        complete(application, ())

    expected = "task noted: on_one_server needs DatabaseProvider or CacheProvider in config/providers.py."
    assert capsys.readouterr().err == f"Cannot start: {expected}\n"
