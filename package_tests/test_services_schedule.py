"""The schedule: when tasks are due, and how they are run."""

import pendulum
import pytest
from masonite.scheduling import CommandTask, Task

from package_tests.support.service_project import service_application
from zuplo_origin.services import ScheduleProvider
from zuplo_origin.services.schedule import is_due

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
