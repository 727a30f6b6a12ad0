"""The fakes of services in users' tests, and the schedule's command: pytest runs a test file in a copied project."""

import subprocess
import sys

from package_tests.support.servers import clean_environment
from package_tests.support.service_project import APP_KEY, migrate, service_project

TESTS = """
from masonite.facades import Mail, Notification as Notifications, Queue
from masonite.notification import Notification

from app.jobs.Jobs import Note, Slow
from app.mailables.Hello import Hello
from zuplo_origin.services.mail import Mail as RealMail
from zuplo_origin.services.queues import Queue as RealQueue
from zuplo_origin.testing import TestCase


class Welcome(Notification):
    def via(self, notifiable):
        return ["mail"]


class FakesTest(TestCase):
    def test_1_mail_of_a_request_is_seen(self):
        mail = self.fake("mail").seeEmailWasNotSent()
        self.get("/mail?user=jane&number=1").assertOk()
        mail.seeEmailWasSent().seeEmailCountEquals(1).seeEmailTo("jane@example.com").seeEmailFrom("origin@example.com")
        mail.seeEmailSubjectEquals("jane 1").seeEmailContains("<p>jane 1 jane</p>").seeDriverWas("smtp")
        Mail.mailable(Hello("joe", 2)).send().seeEmailTo("joe@example.com")
        mail.seeEmailCountEquals(2)

    def test_2_fake_of_another_test_is_gone(self):
        with self.application.scope():
            assert type(self.application.make("mail")) is RealMail
            assert self.application.make("mail") is self.application.make("mail")
        assert type(self.application.make("queue")) is RealQueue
        self.fake("mail").seeEmailWasNotSent()
        self.fake("queue").assertNothingPushed()
        self.fake("notification").assertNothingSent()

    def test_3_jobs_are_seen_and_not_run(self):
        queue = self.fake("queue")
        self.get("/push?user=jane&number=1&driver=database").assertOk()
        queue.assertPushed(Note, 1).assertNotPushed(Slow)
        assert queue.jobs(Note)[0].words == ("jane", "1")
        for wrong in (lambda: queue.assertPushed(Slow), lambda: queue.assertPushed(Note, 2), queue.assertNothingPushed):
            try:
                wrong()
            except AssertionError:
                continue
            raise ValueError("an assertion does not fail")

    def test_4_notifications_are_seen(self):
        fake = self.fake("notification")
        Notifications.route("mail", "jane@example.com").send(Welcome())
        fake.assertCount(1).assertSentTo("jane@example.com", Welcome)

    def test_5_restore_ends_a_fake(self):
        self.fake("queue")
        self.restore("queue")
        assert type(self.application.make("queue")) is RealQueue
        self.restore("queue")

    def test_6_invalid_mail_is_rejected_by_the_fake_too(self):
        self.fake("mail")
        self.post("/raw_mail", {"to": "a@example.com", "subject": "a\\nb"}).assertIsStatus(400)

    def test_7_schedule_runs_all_tasks_and_reports_a_broken_one(self):
        self.craft("schedule:run", "--task notes").assertSuccess()
        with open("storage/notes") as file:
            assert file.read() == "task True False\\n"
"""


def test_fakes_do_not_leak_into_other_tests(tmp_path):
    project = service_project(tmp_path / "project")
    (project / "tests/test_fakes.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/test_fakes.py"]
    environment = clean_environment(MAIL_PORT="1")
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=110)

    assert ended.returncode == 0 and "7 passed" in ended.stdout, ended.stdout


def test_commands_of_the_schedule_and_the_queue_in_production(tmp_path):
    project = service_project(tmp_path / "project")
    migrate(project, MAIL_PORT="1")

    def craft(*arguments, **settings):
        environment = clean_environment(APP_ENV="production", MAIL_PORT="1", **settings)
        command = [sys.executable, "craft", *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=60)

    ended = craft("schedule:run")
    assert ended.returncode == 1 and "a broken task" in ended.stderr and "Traceback" not in ended.stdout
    assert (project / "storage/notes").read_text() == "task True False\n"
    ended = craft("queue:work", "--driver", "database")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1) and "queue:work: APP_KEY is not set" in ended.stderr
    ended = craft("queue:retry", "--driver", "database", "--queue", "x", APP_KEY=APP_KEY)
    assert ended.returncode == 0 and "No failed jobs found." in ended.stdout
