"""The clock of `TestCase`, factories, and the fake of storage: pytest runs a test file in a copied project."""

import pytest

from package_tests.support.processes import forked_python
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import PROJECT

FILES = {
    "config/database.py": """
from masonite.environment import env
from masoniteorm.config import db_url
from masoniteorm.connections import ConnectionResolver

DATABASES = {"default": "main", "main": db_url(env("DATABASE_URL", cast=False))}
DB = ConnectionResolver().set_connection_details(DATABASES)
""",
    "config/cache.py": """
STORES = {"default": "local", "local": {"driver": "file", "location": "storage/cache"}}
""",
    "config/filesystem.py": """
DISKS = {"default": "local", "local": {"driver": "file", "path": "storage/disk"}}
""",
    "config/providers.py": """
from app.providers import PROVIDERS
from app.providers.TasksProvider import TasksProvider
from zuplo_origin.services import CacheProvider, DatabaseProvider, RateProvider, ScheduleProvider, StorageProvider

PROVIDERS = [
    *PROVIDERS, CacheProvider, DatabaseProvider, RateProvider, ScheduleProvider, StorageProvider, TasksProvider
]
""",
    "Kernel.py": (PROJECT / "Kernel.py")
    .read_text()
    .replace('"jwt": [TokenMiddleware]', '"jwt": [TokenMiddleware], "throttle": [ThrottleRequestsMiddleware]')
    .replace("\n\n\n", "\nfrom zuplo_origin.services import ThrottleRequestsMiddleware\n\n\n", 1),
    "app/providers/TasksProvider.py": """
from masonite.scheduling import Task

from app.models.Book import Book
from zuplo_origin.http.kernel import Provider


class Nightly(Task):
    name = "nightly"

    def handle(self):
        Book.create({"title": "made at night"})


class TasksProvider(Provider):
    def register(self):
        self.application.make("scheduler").add(Nightly().daily_at("4:30"))
""",
    "app/models/Book.py": """
from masoniteorm.models import Model
from masoniteorm.scopes import SoftDeletesMixin


class Book(Model):
    __fillable__ = ["title", "stock"]


class SoftBook(Model, SoftDeletesMixin):
    __table__ = "books"
""",
    "app/controllers/BooksController.py": """
from masonite.controllers import Controller
from masonite.filesystem import Storage
from masonite.request import Request

from app.models.Book import Book
from zuplo_origin.services import idempotent


class BooksController(Controller):
    def limited(self):
        return "ok"

    @idempotent
    def store(self, request: Request):
        return Book.create({"title": request.input("title")}), 201

    def cover(self, storage: Storage):
        return {"path": storage.disk().put_file("covers", Cover())}, 201


class Cover:
    name = "cover.png"

    def get_content(self):
        return b"PNG"
""",
    "databases/migrations/2026_01_01_000000_create_books_table.py": """
from masoniteorm.migrations import Migration


class CreateBooksTable(Migration):
    def up(self):
        with self.schema.create("books") as table:
            table.increments("id")
            table.string("title")
            table.integer("stock").nullable()
            table.soft_deletes()
            table.timestamps()
        with self.schema.create("idempotency_keys") as table:
            table.string("id", 64).primary()
            table.string("fingerprint", 64)
            table.string("claim", 32)
            table.big_integer("expires_at").index()
            table.long_text("response").nullable()

    def down(self):
        pass
""",
    "databases/factories.py": """
from masoniteorm.factories import Factory

from app.models.Book import Book

Factory.register(Book, lambda faker: {"title": faker.unique.sentence(), "stock": faker.random_int(1, 9)})
Factory.register(Book, lambda faker: {"title": "none left", "stock": 0}, name="sold out")
""",
    "tests/test_clock.py": """
import datetime
import sys
import threading
import time

import pendulum
import pytest
from masonite.tests import DatabaseTransactions
from masoniteorm.factories import Factory

import databases.factories  # noqa: F401
from app.models.Book import Book, SoftBook
from zuplo_origin.services.storage import Storage as RealStorage
from zuplo_origin.testing import TestCase

STARTED = time.time()


def is_real():
    return STARTED <= time.time() < STARTED + 600


class ClockTest(TestCase, DatabaseTransactions):
    connection = "main"

    def test_01_keys_are_fetched_whatever_the_clock_says(self):
        self.fakeTimeInFuture(10, "years")
        self.acting_as().get("/protected").assertOk()

    def test_02_clock_is_back_after_a_test(self):
        assert is_real()

    def test_03_token_expires(self):
        self.acting_as().get("/protected").assertOk()
        self.fakeTimeInFuture(4, "minutes")
        self.get("/protected").assertOk()
        self.fakeTimeInFuture(6, "minutes")
        self.get("/protected").assertUnauthorized().assertJson({"error": "Token has expired"})
        self.acting_as().get("/protected").assertOk()
        self.restoreTime()
        assert is_real()
        self.get("/protected").assertUnauthorized()

    def test_04_token_of_the_past_is_made_and_accepted_then(self):
        self.fakeTimeInPast(3, "weeks")
        self.acting_as().get("/protected").assertOk()
        self.fakeTimeInPast(4, "weeks")
        self.get("/protected").assertUnauthorized()

    def test_05_clock_stands_still_at_the_time_that_is_set(self):
        for moment in (
            pendulum.datetime(2031, 5, 6, 7, 8, 9, 123457),
            pendulum.datetime(2031, 5, 6, 7, tz="Asia/Tokyo"),
            datetime.datetime(2031, 5, 6, 7, 8, 9, 999999, tzinfo=datetime.timezone.utc),
        ):
            assert self.fakeTime(moment) == moment == pendulum.now() == datetime.datetime.now(datetime.timezone.utc)
            assert abs(time.time() - moment.timestamp()) < 1e-5
        assert self.fakeTime(datetime.datetime(2031, 1, 1)) == pendulum.datetime(2031, 1, 1)
        assert self.fakeTime() == pendulum.datetime(2031, 1, 1)
        self.fakeTimeTomorrow()
        assert pendulum.now() == pendulum.datetime(2031, 1, 2)
        self.fakeTimeYesterday()
        assert pendulum.now() == pendulum.datetime(2031, 1, 1)
        for _ in range(2):
            self.fakeTimeInFuture(1, "hours")
            assert 3600 <= time.time() - STARTED < 4200

    def test_06_zone_of_the_process_stays(self):
        before = time.tzname, time.timezone
        self.fakeTime(pendulum.datetime(2031, 7, 1, tz="Asia/Tokyo"))
        assert (time.tzname, time.timezone) == before

    def test_07_waits_go_on(self):
        self.fakeTime()
        began = time.monotonic()
        assert not threading.Event().wait(0.05)
        assert time.monotonic() - began >= 0.05

    def test_08_what_cannot_be_a_time_is_an_error(self):
        for call, message in (
            (lambda: self.fakeTime("2031-01-01"), "fakeTime: invalid value '2031-01-01'; expected a datetime"),
            (lambda: self.fakeTimeInFuture(1, "day"), "fakeTimeInFuture: invalid unit 'day'; expected seconds, min"),
            (lambda: self.fakeTimeInPast(1, "x"), "fakeTimeInPast: invalid unit 'x'"),
        ):
            with pytest.raises((TypeError, ValueError), match=message):
                call()
        assert is_real()

    def test_09_cache_entry_expires(self):
        cache = self.application.make("cache")
        cache.put("a", 1, seconds=60)
        self.fakeTimeInFuture(59, "seconds")
        assert cache.get("a") == 1
        self.fakeTimeInFuture(61, "seconds")
        assert cache.get("a") is None

    def test_10_rate_limit_ends(self):
        self.acting_as(sub="limited", exp=2**40)
        assert [self.get("/limited").response.get_status_code()[:3] for _ in range(3)] == ["200", "200", "429"]
        self.fakeTimeInFuture(61, "seconds")
        self.get("/limited").assertOk()

    def test_11_idempotency_key_expires(self):
        self.acting_as(exp=2**40).with_headers({"Idempotency-Key": "k"})
        numbers = []
        for hours in (0, 23, 25):
            self.fakeTimeInFuture(hours, "hours")
            numbers.append(self.post("/books", {"title": "a"}).assertCreated().json()["id"])
        assert numbers[0] == numbers[1] != numbers[2] and Book.count() == 2

    def test_12_tasks_of_the_time_are_run(self):
        for hour, expected in ((3, 0), (4, 1)):
            self.fakeTime(pendulum.datetime(2031, 1, 1, hour, 30, tz="local"))
            self.craft("schedule:run").assertSuccess()
            assert Book.where("title", "made at night").count() == expected

    def test_13_rows_are_created_then(self):
        self.fakeTime(pendulum.datetime(2031, 1, 1, 12))
        assert str(Book.create({"title": "a"}).fresh().created_at).startswith("2031-01-01")

    @pytest.mark.xfail(strict=True, reason="the next test shows that the clock is back")
    def test_14_failed_test_leaves_no_clock(self):
        self.fakeTimeInFuture(1, "years")
        self.fail()

    def test_15_clock_is_back_after_a_failed_test(self):
        assert is_real()


def test_clock_of_the_fixture(client):
    client.fakeTimeInFuture(1)
    assert not is_real()


def test_clock_of_the_fixture_is_back(client):
    assert is_real()


class FactoriesTest(TestCase, DatabaseTransactions):
    connection = "main"

    def test_one_row_is_created(self):
        book = Factory(Book).create({"stock": 3})
        assert Book.find(book.id).stock == 3 and book.title

    def test_many_rows_have_ids(self):
        books = Factory(Book, 5).create({"stock": 2})
        assert sorted(book.id for book in books) == sorted(row.id for row in Book.where("stock", 2).get())
        assert books.count() == 5 and len({book.title for book in books}) == 5

    def test_rows_of_a_list_are_created(self):
        books = Factory(Book).create([{"title": "a"}, {"title": "b"}])
        assert [book.title for book in books] == ["a", "b"] and Book.count() == 2

    def test_named_factory_is_used(self):
        assert Factory(Book).create(name="sold out").stock == 0

    def test_models_that_are_made_are_not_saved(self):
        assert Factory(Book).make({"title": "a"}).title == "a"
        assert Factory(Book, 3).make().count() == 3 and Factory(Book).make([{}]).count() == 1
        assert Book.count() == 0

    def test_unknown_factory_is_an_error(self):
        with pytest.raises(LookupError, match="there is no factory 'x' for Book"):
            Factory(Book).create(name="x")

    def test_threads_create_rows_of_their_own(self):
        Factory._faker = None
        barrier, fakers, titles = threading.Barrier(8), [], []

        def create():
            barrier.wait()
            fakers.append(Factory(Book).faker)
            titles.extend(book.title for book in Factory(Book, 20).make())

        threads = [threading.Thread(target=create) for _ in range(8)]
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
        assert len(set(map(id, fakers))) == 1 and len(set(titles)) == len(titles) == 160


class DatabaseTest(TestCase, DatabaseTransactions):
    connection = "main"

    def test_rows_are_asserted_on(self):
        book = Factory(Book).create({"title": "a"})
        self.assertDatabaseCount("books", 1)
        self.assertDatabaseHas("books", {"title": "a", "id": book.id})
        self.assertDatabaseMissing("books", {"title": "b"})
        for wrong in (
            lambda: self.assertDatabaseCount("books", 2),
            lambda: self.assertDatabaseHas("books", {"title": "b"}),
            lambda: self.assertDatabaseMissing("books", {"title": "a"}),
            lambda: self.assertDeleted(book),
            lambda: self.assertSoftDeleted(SoftBook.find(book.id)),
        ):
            with pytest.raises(AssertionError):
                wrong()
        SoftBook.find(book.id).delete()
        self.assertSoftDeleted(SoftBook.with_trashed().find(book.id))
        book.delete()
        self.assertDeleted(book)
        with pytest.raises(AssertionError):
            self.assertSoftDeleted(SoftBook.hydrate({"id": book.id}))


class StorageTest(TestCase):
    def test_1_files_of_a_request_are_seen(self):
        storage = self.fake("storage")
        path = self.acting_as().post("/covers").assertCreated().json()["path"]
        storage.assertExists(path, b"PNG").assertCount(1)
        assert storage.files() == [path]

    def test_2_fake_of_another_test_is_gone(self):
        assert type(self.application.make("storage")) is RealStorage
        self.fake("storage").assertNothingPut()

    def test_3_service_without_a_fake_is_an_error(self):
        with pytest.raises(LookupError, match="there is no fake of 'mail'; name the provider of the service in config"):
            self.fake("mail")
""",
}
ROUTES = """
from app.controllers.BooksController import BooksController

ROUTES += [
    Route.get("/limited", BooksController.limited).middleware("jwt", "throttle:2/minute"),
    Route.post("/books", BooksController.store).middleware("jwt"),
    Route.post("/covers", BooksController.cover).middleware("jwt"),
]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text.lstrip())
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTES)
    return project


def run(project, *arguments, **settings):
    return forked_python(project, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments, **settings)


def test_users_tests_set_the_clock_create_rows_and_store_nothing(project):
    ended = run(project, "-W", "error", "-W", "ignore:DD class", "tests/test_clock.py")

    assert ended.returncode == 0 and "27 passed, 1 xfailed" in ended.stdout, ended.stdout
    assert not (project / "storage/disk").exists()


def test_missing_package_is_one_line_that_names_it(project, tmp_path):
    for name in ("time_machine", "faker"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}')")
    chosen = ("tests/test_clock.py", "-k", "zone_of_the_process or named_factory")
    ended = run(project, "-p", "no:time_machine", *chosen, PYTHONPATH=f"{tmp_path}")

    errors = [line[1:].strip() for line in ended.stdout.splitlines() if line.startswith("E ")]
    assert ended.returncode == 1
    assert sorted(errors) == [
        "ModuleNotFoundError: a factory needs the package faker; add it to requirements-dev.txt",
        "ModuleNotFoundError: the clock of a test needs the package time-machine; add it to requirements-dev.txt",
    ], ended.stdout
