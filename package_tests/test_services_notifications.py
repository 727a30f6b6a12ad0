"""Notifications: by mail, Slack and the database, at once or from a queue."""

import http.server
import json
import sys
import threading
import time
from types import ModuleType
from urllib.parse import parse_qs

import pytest
from masonite.exceptions import NotificationException
from masonite.mail import Mailable
from masonite.notification import DatabaseNotification, Notifiable, Notification, SlackMessage, Sms
from masonite.queues import Queueable
from masoniteorm.models import Model

from package_tests.support.controllers import wait_until
from package_tests.support.service_project import APP_KEY, orm_database, service_application
from package_tests.support.smtp import SmtpServer
from zuplo_origin.services import MailProvider, NotificationProvider, QueueProvider
from zuplo_origin.services.queues import Worker

TABLES = """
create table users (id integer primary key, name text, email text, created_at timestamp, updated_at timestamp);
create table notifications (id text primary key, type text, data text, notifiable_id integer, notifiable_type text,
  read_at timestamp, created_at timestamp, updated_at timestamp);
create table jobs (id integer primary key, name text, queue text, payload blob, attempts integer, ran_at timestamp,
  available_at timestamp, reserved_at timestamp, created_at timestamp);
create table failed_jobs (id integer primary key, queue text, connection text, name text, driver text, payload blob,
  exception text, failed_at timestamp, created_at timestamp);
insert into users (id, name, email) values (1, 'Jane', 'jane@example.com'), (2, 'Joe', 'joe@example.com');
"""


class User(Model, Notifiable):
    __table__ = "users"

    def route_notification_for_slack(self):
        return ["#general", "C123"]


class Welcome(Notification, Mailable):
    """A notification that does not name its recipient: Masonite would send all to the first one."""

    def to_mail(self, notifiable):
        return self.subject("Welcome").text(f"Hello {getattr(notifiable, 'name', 'you')}").attach("a.txt", __file__)

    def to_database(self, notifiable):
        return {"name": notifiable.name}

    def to_slack(self, notifiable):
        return SlackMessage().text("Hello")

    def to_vonage(self, notifiable):
        return Sms().text("Hello")

    def via(self, notifiable):
        return ["mail"]


class Queued(Welcome, Queueable):
    def queue(self):
        return "mails"


@pytest.fixture(scope="module")
def smtp():
    with SmtpServer() as server:
        yield server


@pytest.fixture
def database(tmp_path, monkeypatch):
    with orm_database(tmp_path / "test.sqlite3", monkeypatch) as connection:
        connection.executescript(TABLES)
        yield connection


@pytest.fixture
def application(tmp_path, smtp, database, monkeypatch):
    smtp.mails.clear()
    mail = {"default": "smtp", "smtp": {"host": "127.0.0.1", "port": smtp.port, "from": "origin@example.com"}}
    queue = {"default": "database", "database": {"table": "jobs", "failed_table": "failed_jobs", "poll": 0.05}}
    drivers = {"database": {"table": "notifications"}, "slack": {"token": "xoxb-token", "timeout": 5}, "vonage": {}}
    made = service_application(
        tmp_path,
        MailProvider,
        QueueProvider,
        NotificationProvider,
        application={"env": "testing", "key": APP_KEY},
        mail={"drivers": mail},
        queue={"drivers": queue},
        notification={"drivers": drivers, "dry": False},
    )
    wsgi = ModuleType("wsgi")
    wsgi.application = made
    monkeypatch.setitem(sys.modules, "wsgi", wsgi)
    return made


@pytest.fixture
def notification(application):
    return application.make("notification")


class Slack(http.server.BaseHTTPRequestHandler):
    """Slack's API and a webhook. `hangs` keeps a request waiting."""

    received: list = []  # noqa: RUF012
    hangs = threading.Event()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.received.append((self.path, body))
        if self.path == "/hangs":
            self.hangs.wait(30)
        channels = [{"name": "general", "id": "C999"}]
        status, body = 200, json.dumps({"ok": "fails" not in self.path, "error": "no_scope", "channels": channels})
        if self.path == "/webhook/secret-fails":
            status, body = 403, "invalid_token"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def slack(notification):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slack)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Slack.received.clear()
    Slack.hangs.clear()
    url = f"http://127.0.0.1:{server.server_port}"
    driver = notification.get_driver("slack")
    driver.send_url, driver.channel_url = f"{url}/send", f"{url}/channels"
    yield url
    Slack.hangs.set()
    server.shutdown()
    server.server_close()


def test_each_recipient_receives_one_mail_of_its_own(notification, smtp):
    welcome = Welcome()
    notification.send(User.all(), welcome)

    received = [(mail.recipients, mail.message.get_body().get_content().strip()) for mail in smtp.mails]
    assert received == [(["jane@example.com"], "Hello Jane"), (["joe@example.com"], "Hello Joe")]
    assert [len(list(mail.message.iter_attachments())) for mail in smtp.mails] == [1, 1]
    assert welcome.get_options()["to"] == "" and not hasattr(welcome, "id")


def test_route_sends_to_an_address_without_a_model(notification, smtp):
    notification.route("mail", "someone@example.com").send(Welcome())

    assert [mail.recipients for mail in smtp.mails] == [["someone@example.com"]]


def test_notification_in_the_database_is_read_through_its_model(notification, database):
    jane = User.find(1)
    jane.notify(Welcome(), ["database"])
    notification.send(User.find(2), Welcome(), channels=["database"])

    rows = [dict(row) for row in database.execute("select * from notifications order by notifiable_id")]
    assert [(row["type"], row["data"], row["notifiable_id"], row["notifiable_type"]) for row in rows] == [
        ("Welcome", '{"name": "Jane"}', 1, "users"),
        ("Welcome", '{"name": "Joe"}', 2, "users"),
    ]
    assert len({row["id"] for row in rows}) == 2 and all(len(row["id"]) == 36 for row in rows)
    found = DatabaseNotification.where("notifiable_id", 1).first()
    assert found.type == "Welcome" and found.is_unread


def test_slack_api_posts_to_each_channel_with_the_token(notification, slack):
    notification.send(User.find(1), Welcome(), drivers=["slack"])

    paths = [path for path, _ in Slack.received]
    assert paths == ["/channels", "/send", "/send"]
    sent = [parse_qs(body) for path, body in Slack.received if path == "/send"]
    assert [each["channel"] for each in sent] == [["C999"], ["C123"]] and sent[0]["token"] == ["xoxb-token"]


def test_slack_webhook_is_posted_to(notification, slack):
    notification.route("slack", f"{slack}/webhook/secret").send(type("Hi", (Welcome,), {"via": lambda *_: ["slack"]})())

    ((path, body),) = Slack.received
    assert path == "/webhook/secret" and json.loads(body)["text"] == "Hello"


def test_errors_of_slack_are_exceptions_without_the_secret(notification, slack):
    driver = notification.get_driver("slack")
    with pytest.raises(NotificationException, match="403: invalid_token") as raised:
        notification.route("slack", f"{slack}/webhook/secret-fails").send(AlwaysSlack())
    assert "secret" not in str(raised.value)
    driver.send_url = f"{slack}/fails"
    with pytest.raises(NotificationException, match="no_scope"):
        notification.route("slack", "C1").send(AlwaysSlack())
    with pytest.raises(NotificationException, match="do not exist or is invalid: #nowhere"):
        notification.route("slack", "#nowhere").send(AlwaysSlack())
    with pytest.raises(NotificationException, match="cannot be reached") as raised:
        notification.route("slack", "http://127.0.0.1:1/services/secret").send(AlwaysSlack())
    assert "secret" not in str(raised.value) and raised.value.__cause__ is None
    assert raised.value.__suppress_context__  # or the traceback in the log would contain the URL


class AlwaysSlack(Welcome):
    def via(self, notifiable):
        return ["slack"]


def test_slack_that_hangs_is_given_up_after_the_time_out(notification, slack):
    notification.get_driver("slack").options["timeout"] = 0.2
    began = time.monotonic()
    with pytest.raises(NotificationException, match="ReadTimeout"):
        notification.route("slack", f"{slack}/hangs").send(AlwaysSlack())

    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("driver", "why"),
    [("broadcast", "does not broadcast"), ("pigeon", "no notification driver 'pigeon', but mail, database, slack")],
)
def test_drivers_that_cannot_be_used_are_errors(notification, driver, why):
    with pytest.raises(NotificationException, match=why):
        notification.send(User.find(1), Welcome(), drivers=[driver])


def test_vonage_needs_its_packages(notification, monkeypatch):
    monkeypatch.setitem(sys.modules, "vonage", None)
    with pytest.raises(ModuleNotFoundError, match="vonage needs vonage and phonenumbers"):
        notification.send(User.find(1), Welcome(), drivers=["vonage"])


def test_dry_and_silent_notifications(notification, smtp):
    jane = User.find(1)
    assert jane.notify(Welcome(), dry=True) is None and notification.send(jane, Welcome().dry()) is None
    assert smtp.mails == []
    assert notification.send(jane, Welcome(), drivers=["broadcast"], fail_silently=True) == []
    assert jane.notify(Welcome().fail_silently(), ["broadcast"]) == []


def test_queued_notification_is_sent_by_a_worker_and_not_before(application, notification, smtp, database, capsys):
    User.find(1).notify(Queued())
    notification.send(User.find(2), Queued())
    notification.route("mail", "route@example.com").send(Queued())
    names = [(row["name"], row["queue"]) for row in database.execute("select * from jobs")]
    assert names == [("SendNotification(Queued)", "mails")] * 3 and smtp.mails == [] and capsys.readouterr().out == ""

    database.execute("update users set email = 'new@example.com' where id = 2")
    work(application, database)
    assert sorted(mail.recipients[0] for mail in smtp.mails) == [
        "jane@example.com",
        "new@example.com",
        "route@example.com",
    ]


def test_queued_notification_to_a_model_that_has_gone_fails(application, smtp, database):
    User.find(1).notify(Queued())
    database.execute("delete from users")
    work(application, database)

    assert smtp.mails == []
    (failed,) = database.execute("select exception from failed_jobs").fetchall()
    assert "there is no User 1 any more" in failed["exception"]


def work(application, database):
    worker = Worker(application.make("queue")._with_options("database", {"queue": "mails", "attempts": 1}))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(lambda: not database.execute("select * from jobs").fetchall())
    finally:
        worker._stopping.set()
        thread.join(30)
