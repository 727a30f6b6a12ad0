"""A project that uses views, mail, queues, tasks, notifications and storage, for tests of `zuplo_origin.services`."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from masoniteorm.connections import ConnectionResolver

from zuplo_origin.http.application import Application
from zuplo_origin.http.errors import JsonExceptionHandler
from zuplo_origin.http.kernel import Configuration, FrameworkKernel

from .project import copy_of_the_project
from .servers import clean_environment

CONFIG = {
    "queue": """
import os

DRIVERS = {
    "default": "async",
    "database": {"connection": "default", "table": "jobs", "failed_table": "failed_jobs", "attempts": 3, "poll": 0.05,
                 "tz": "UTC", "retry_after": float(os.environ.get("RETRY_AFTER", "90"))},
    "async": {"blocking": False, "callback": "handle", "mode": "threading", "workers": 4},
}
""",
    "mail": """
import os

DRIVERS = {
    "default": "smtp",
    "smtp": {"host": "127.0.0.1", "port": os.environ.get("MAIL_PORT"), "from": "origin@example.com", "timeout": 5},
    "mailgun": {"domain": "example.com", "secret": "key-of-mailgun", "from": "origin@example.com"},
    "terminal": {"from": "origin@example.com"},
}
""",
    "filesystem": """
DISKS = {
    "default": "local",
    "local": {"driver": "file", "path": "storage/local"},
    "other": {"driver": "file", "path": "storage/other"},
}
""",
    "notification": """
DRIVERS = {"database": {"connection": "default", "table": "notifications"}, "slack": {"token": "xoxb-secret"}}
DRY = False
""",
    "database": """
import os

from masoniteorm.connections import ConnectionResolver

DATABASES = {
    "default": os.environ.get("DB_DRIVER", "sqlite"),
    "sqlite": {"driver": "sqlite", "database": "storage/test.sqlite3", "prefix": ""},
    "postgres": {"driver": "postgres", "host": "127.0.0.1", "port": os.environ.get("DB_PORT"), "user": "origin",
                 "database": "postgres", "password": "", "prefix": ""},
}
if os.environ.get("DB_DRIVER") == "mysql":
    DATABASES["mysql"] = {"driver": "mysql", "host": "127.0.0.1", "port": os.environ.get("DB_PORT"), "user": "root",
                          "database": "origin", "password": "", "prefix": ""}
DB = ConnectionResolver().set_connection_details(DATABASES)
""",
    "providers": """
import os

from app.providers import PROVIDERS as FOUNDATION
from app.providers.AppProvider import AppProvider
from app.providers.StockProvider import StockProvider
from zuplo_origin.services import (
    DatabaseProvider, MailProvider, NotificationProvider, QueueProvider, ScheduleProvider, StorageProvider, ViewProvider
)

OURS = [ViewProvider, MailProvider, QueueProvider, ScheduleProvider, NotificationProvider, StorageProvider, AppProvider]
PROVIDERS = [*FOUNDATION, DatabaseProvider, *([StockProvider] if os.environ.get("SERVICES") == "stock" else OURS)]
""",
}
APP = {
    "providers/AppProvider": """
from app.tasks.Tasks import Broken, Daily, Notes
from masonite.scheduling import CommandTask
from zuplo_origin.http.kernel import Provider


class AppProvider(Provider):
    def register(self):
        self.application.make("scheduler").add(
            Broken().every_minute(), Notes().every_minute(), Daily().daily_at("4:30"), CommandTask("false").daily()
        )
""",
    "providers/StockProvider": '''
"""The classes of Masonite itself, to show what they do under threads."""

from masonite.configuration import config
from masonite.drivers.queue import AsyncDriver, DatabaseDriver
from masonite.filesystem import Storage
from masonite.filesystem.drivers import LocalDriver
from masonite.mail import Mail
from masonite.mail.drivers import SMTPDriver
from masonite.queues import Queue
from masonite.views import View
from zuplo_origin.http.kernel import Provider


class StockProvider(Provider):
    def register(self):
        application = self.application
        view = View(application)
        view.add_location("templates")
        application.bind("view", view)
        mail = Mail(application).set_configuration(config("mail.drivers"))
        mail.add_driver("smtp", SMTPDriver(application))
        application.bind("mail", mail)
        storage = Storage(application).set_configuration(config("filesystem.disks"))
        storage.add_driver("file", LocalDriver(application))
        application.bind("storage", storage)
        queue = Queue(application).set_configuration(config("queue.drivers"))
        queue.add_driver("async", AsyncDriver(application))
        queue.add_driver("database", DatabaseDriver(application))
        application.bind("queue", queue)
''',
    "mailables/Hello": """
from masonite.mail import Mailable


class Hello(Mailable):
    def __init__(self, user, number):
        super().__init__()
        self.user, self.number = user, number

    def build(self):
        return (
            self.to(f"{self.user}@example.com").subject(f"{self.user} {self.number}")
            .view("page", {"user": self.user, "number": self.number})
        )
""",
    "jobs/Jobs": '''
import os
import signal
import time

from masonite.facades import Mail
from masonite.queues import Queueable

from app.mailables.Hello import Hello


def note(*words):
    """Append a line to storage/notes, in one write."""
    with open("storage/notes", "ab", buffering=0) as file:
        file.write((" ".join(map(str, words)) + "\\n").encode())


class Note(Queueable):
    def __init__(self, *words):
        self.words = words

    def handle(self, *arguments):
        note("note", *self.words, *arguments)

    def other(self):
        note("other", *self.words)


class Slow(Note):
    def handle(self):
        note("begin", *self.words)
        time.sleep(float(self.words[0]))
        note("end", *self.words)


class Fails(Note):
    def handle(self):
        note("try", *self.words)
        raise AttributeError("it fails")

    def failed(self, job, error):
        note("failed", sorted(job), error)


class Dies(Note):
    def handle(self):
        note("dies")
        os.kill(os.getpid(), signal.SIGKILL)


class SendHello(Queueable):
    def __init__(self, user, number):
        self.user, self.number = user, number

    def handle(self):
        Mail.mailable(Hello(self.user, self.number)).send()


class InScope(Note):
    def handle(self):
        from wsgi import application

        scope = application.current_scope()
        scope.at_end(lambda: note("scope ended", *self.words))
        note("scope", *self.words, application.has("request"), application.has("mark"))
        application.bind("mark", self.words)
''',
    "tasks/Tasks": """
from masonite.scheduling import Task

from app.jobs.Jobs import note


class Broken(Task):
    def handle(self):
        raise RuntimeError("a broken task")


class Notes(Task):
    name = "notes"

    def handle(self):
        from wsgi import application

        note("task", application.current_scope() is not None, application.has("mark"))
        application.bind("mark", True)


class Daily(Task):
    def handle(self):
        note("daily")
""",
    "controllers/ServicesController": """
import time

from masonite.controllers import Controller
from masonite.facades import Storage as StorageFacade
from masonite.facades import View as ViewFacade
from masonite.filesystem import Storage
from masonite.mail import Mail
from masonite.queues import Queue
from masonite.request import Request
from masonite.response import Response
from masonite.views import View

from app.jobs.Jobs import Note
from app.mailables.Hello import Hello


class ServicesController(Controller):
    def page(self, request: Request, view: View):
        user, number = request.query("user"), request.query("number")
        return view.render("page", {"user": user, "number": number})

    def shared(self, request: Request, view: View):
        ViewFacade.share({"owner": request.query("user")})
        view.composer("shared", {"place": request.query("number")})
        return view.render("shared")

    def unshared(self, view: View):
        return view.render("shared")

    def template(self, request: Request, view: View):
        return view.render(request.query("name"), {"user": "<b>"})

    def mail(self, request: Request, mail: Mail):
        mail.mailable(Hello(request.query("user"), request.query("number"))).send()
        return {"sent": True}

    def raw_mail(self, request: Request, mail: Mail):
        hello = Hello("user", 1).to(request.input("to")).subject(request.input("subject")).from_("a@example.com")
        hello.build = lambda: hello.text("text")
        mail.mailable(hello).send()
        return {"sent": True}

    def store(self, request: Request, storage: Storage):
        user, number = request.query("user"), request.query("number")
        disks = {name: storage.disk(name) for name in ("local", "other")}
        for name, disk in disks.items():
            disk.put(f"{user}/{number}", f"{name} {user} {number}")
        return {disk: storage.disk(disk).get(f"{user}/{number}") for disk in ("local", "other")}

    def upload(self, request: Request, storage: Storage):
        upload = request.input("file")
        disk = storage.disk("local")
        return {"path": disk.put_file("uploads", upload), "stored": disk.store(upload)}

    def read(self, request: Request):
        return {"content": StorageFacade.disk("local").get(request.query("path"))}

    def write(self, request: Request):
        StorageFacade.disk("local").put(request.query("path"), "written")

    def download(self, request: Request, response: Response, storage: Storage):
        return response.stream(storage.disk("local").stream(request.query("path")), "text/plain")

    def push(self, request: Request, queue: Queue):
        queue.push(Note(request.query("user"), request.query("number")), driver=request.query("driver"))
        return {"pushed": True}

    def slow(self, request: Request, queue: Queue):
        from app.jobs.Jobs import Slow

        queue.push(*[Slow(request.query("seconds")) for _ in range(int(request.query("count")))])
""",
}
TEMPLATES = {
    "page.html": "@if user\n<p>{{ user }} {{ number }} {{ user }}</p>\n@endif\n",
    "shared.html": "{{ owner }} {{ place }}\n",
    "parts/row.html": "row {{ user }}\n",
    "rows.html": "{% include 'parts/row.html' %}{% include 'parts/missing.html' ignore missing %}\n",
    "incomplete.html": "{% include 'parts/missing.html' %}\n",
    "plain.txt": "plain {{ user }}\n",
    "page.j2": "j2 {{ user }}\n",
}
ROUTES = """
from app.controllers.ServicesController import ServicesController

ROUTES += [
    *(
        Route.get(f"/{name}", getattr(ServicesController, name)).middleware("public")
        for name in "page shared unshared template mail store read write download push slow".split()
    ),
    Route.post("/raw_mail", ServicesController.raw_mail).middleware("public"),
    Route.post("/upload", ServicesController.upload).middleware("public"),
]
"""


def service_project(folder: Path) -> Path:
    """Copy the project of the tests into `folder`, and add what uses the services. Return the folder."""
    project = copy_of_the_project(folder)
    for name, text in CONFIG.items():
        (project / f"config/{name}.py").write_text(text)
    for name, text in APP.items():
        file = project / f"app/{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.lstrip())
    for name, text in TEMPLATES.items():
        file = project / "templates" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTES)
    (project / "storage").mkdir()
    (project / "databases/migrations").mkdir(parents=True)
    return project


APP_KEY = "a key of this test, thirty-two bytes or more"
MIGRATE = """
from pathlib import Path
from cleo.io.inputs.string_input import StringInput
from zuplo_origin.craft import load_application, prepare_environment
import sys
sys.argv = ["craft"]
prepare_environment(Path.cwd(), "")
application = load_application(Path.cwd()).make("commands").command_application
application.auto_exits(False)
for line in ("queue:table", "queue:failed", "notification:table", "migrate --force"):
    assert application.run(StringInput(line)) == 0, line
"""


def migrate(project: Path, **settings: str) -> None:
    """Create the tables of jobs, failed jobs and notifications with craft's commands, in one process."""
    command = [sys.executable, "-c", MIGRATE]
    ended = subprocess.run(command, cwd=project, env=clean_environment(**settings), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def service_application(folder: Path, *providers: type, **config: Any) -> Application:
    """Return an application in the test's process, in `folder`, with providers and the configuration that they read.

    `mail={"drivers": {…}}` is `DRIVERS` in `config/mail.py`.
    """
    made = Application(str(folder))
    made.register_providers(FrameworkKernel)
    configuration = Configuration(made)
    for module, values in ({"application": {"env": "testing", "key": APP_KEY}} | config).items():
        for name, value in values.items():
            configuration.set(f"{module}.{name}", value)
    made.bind("config", configuration)
    made.bind("exception_handler", JsonExceptionHandler(made))
    made.add_providers(*providers)
    return made


@contextmanager
def orm_database(file: Path, monkeypatch: Any) -> Iterator[sqlite3.Connection]:
    """Let the ORM of the test's process use the SQLite database in `file`, and yield a connection to it."""
    module: Any = ModuleType("test_database")
    module.DATABASES = {"default": "main", "main": {"driver": "sqlite", "database": str(file), "prefix": ""}}
    module.DB = ConnectionResolver().set_connection_details(module.DATABASES)
    monkeypatch.setitem(sys.modules, "test_database", module)
    monkeypatch.setenv("DB_CONFIG_PATH", "test_database")
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30, check_same_thread=False)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection
