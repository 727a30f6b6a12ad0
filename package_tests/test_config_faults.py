"""Faults in `config/` that stop the start: one line with the file or the setting, the value and what is allowed."""

import shutil
import subprocess
import sys

import pytest

from package_tests.support.project import craft
from package_tests.support.servers import clean_environment, free_port
from package_tests.support.service_project import APP_KEY, service_project

SETTINGS = {"JWT_ISSUER": "https://gateway.example.com/__zuplo/issuer", "JWT_AUDIENCE": "*", "APP_KEY": APP_KEY}
URL = "from masoniteorm.config import db_url\nDATABASES['default'] = 'url'\nDATABASES['url'] = db_url()\n"
# file of `config/`, text that is added to it, variables, the line
FAULTS = {
    "queue, connection": (
        "queue",
        "DRIVERS['database']['connection'] = 'oracle'",
        {},
        "queue.py: database: connection: "
        "invalid value 'oracle'; expected a connection of config/database.py: sqlite, postgres",
    ),
    "queue, attempts": (
        "queue",
        "DRIVERS['database']['attempts'] = 'three'",
        {},
        "queue.py: database: attempts: invalid value 'three'; expected a whole number from 1",
    ),
    "queue, no attempts": (
        "queue",
        "DRIVERS['database']['attempts'] = 0",
        {},
        "queue.py: database: attempts: invalid value '0'; expected a whole number from 1",
    ),
    "queue, poll": (
        "queue",
        "DRIVERS['database']['poll'] = 'often'",
        {},
        "queue.py: database: poll: invalid value 'often'; expected a number from 0",
    ),
    "queue, zone": (
        "queue",
        "DRIVERS['database']['tz'] = 'Mars/Base'",
        {},
        "queue.py: database: tz: invalid value 'Mars/Base'; expected a time zone such as UTC",
    ),
    "queue, workers": (
        "queue",
        "DRIVERS['async']['workers'] = '2.5'",
        {},
        "queue.py: async: workers: invalid value '2.5'; expected a whole number from 1",
    ),
    "queue, driver": (
        "queue",
        "DRIVERS['default'] = 'rabbit'\nDRIVERS['rabbit'] = {}",
        {},
        "queue.py: default: invalid driver 'rabbit'; expected async or database, with its options",
    ),
    "mail, port": (
        "mail",
        "",
        {"MAIL_PORT": "abc"},
        "MAIL_PORT: invalid value 'abc'; expected a whole number from 1 to 65535",
    ),
    "mail, port in the file": (
        "mail",
        "DRIVERS['smtp']['port'] = 70000",
        {},
        "mail.py: smtp: port: invalid value '70000'; expected a whole number from 1 to 65535",
    ),
    "mail, driver": (
        "mail",
        "DRIVERS['default'] = 'pigeon'",
        {},
        "mail.py: default: invalid driver 'pigeon'; expected smtp, mailgun or terminal",
    ),
    "filesystem, disk": (
        "filesystem",
        "DISKS['default'] = 'nowhere'",
        {},
        "filesystem.py: DISKS has no disk 'nowhere', its default",
    ),
    "filesystem, driver": (
        "filesystem",
        "DISKS['other']['driver'] = 'ftp'",
        {},
        "filesystem.py: other: invalid driver 'ftp'; expected file or s3",
    ),
    "filesystem, value": (
        "filesystem",
        "DISKS['other'] = 'storage'",
        {},
        "filesystem.py: other: invalid value 'storage'; expected a dict of options",
    ),
    "database, driver": (
        "database",
        "DATABASES['sqlite']['driver'] = 'oracle'",
        {},
        "database.py: sqlite: invalid driver 'oracle'; expected sqlite, postgres or mysql",
    ),
    "database, default": (
        "database",
        "",
        {"DB_DRIVER": "oracle"},
        "DB_DRIVER: invalid value 'oracle'; expected a connection of this file: sqlite, postgres",
    ),
    "database, port": (
        "database",
        "",
        {"DB_PORT": "abc"},
        "DB_PORT: invalid value 'abc'; expected a whole number from 1 to 65535",
    ),
    "database, URL": (
        "database",
        URL,
        {"DATABASE_URL": "oracle://x:secret@y/z"},
        "database.py:{line}: DATABASE_URL: invalid "
        "scheme 'oracle'; expected a URL that begins with postgres://, mysql:// or sqlite://",
    ),
    "database, no URL": (
        "database",
        URL,
        {},
        "database.py:{line}: DATABASE_URL: not set; expected a URL that begins with postgres://, mysql:// or sqlite://",
    ),
    "database, port in the URL": (
        "database",
        URL,
        {"DATABASE_URL": "postgres://u:secret@h:abc/z"},
        "database.py:{line}: "
        "DATABASE_URL: invalid host or port; expected a URL such as postgres://user:password@host:5432/name",
    ),
    "notification, connection": (
        "notification",
        "DRIVERS['database']['connection'] = 'mysql'",
        {},
        "notification.py: "
        "database: connection: invalid value 'mysql'; expected a connection of config/database.py: sqlite, postgres",
    ),
    "cache, driver": (
        "cache",
        "STORES = {'default': 'x', 'x': {'driver': 'apc'}}",
        {},
        "cache.py: x: invalid driver 'apc'; expected file or redis",
    ),
    "cache, memcached": (
        "cache",
        "STORES = {'default': 'x', 'x': {'driver': 'memcached'}}",
        {},
        "cache.py: x: invalid driver 'memcached'; expected file or redis",
    ),
    "cache, store": (
        "cache",
        "STORES = {'default': 'x'}",
        {},
        "cache.py: default: invalid value 'x'; expected the name of a store",
    ),
    "logging, channels": (
        "logging",
        "CHANNELS = ['audit']",
        {},
        "logging.py: CHANNELS: invalid value \"['audit']\"; expected a dict of channels",
    ),
    "logging, level": (
        "logging",
        "CHANNELS = {'audit': {'level': 'loud'}}",
        {},
        "logging.py: audit: level: invalid value "
        "'loud'; expected one of debug, info, notice, warning, error, critical, alert, emergency",
    ),
    "hashing, driver": (
        "application",
        "HASHING = {'default': 'md5'}",
        {},
        "application.py: HASHING: invalid value; expected a dict whose 'default' is bcrypt or argon2",
    ),
}
MORE = "\nfrom zuplo_origin.services import CacheProvider, HashServiceProvider, LoggingProvider\n"
MORE += "PROVIDERS += [CacheProvider, HashServiceProvider, LoggingProvider]\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project that names the provider of each service that has a configuration."""
    project = service_project(tmp_path_factory.mktemp("template") / "project")
    with open(project / "config/providers.py", "a") as providers:
        providers.write(MORE)
    cache = "STORES = {'default': 'local', 'local': {'driver': 'file', 'location': 'storage/cache'}}\n"
    (project / "config/cache.py").write_text(cache)
    return project


@pytest.fixture
def project(template, tmp_path):
    return shutil.copytree(template, tmp_path / "project")


def make(project, name):
    """Make a fault in the project, and return the variables to run it with, and the line that is expected."""
    module, text, variables, line = FAULTS[name]
    file = project / f"config/{module}.py"
    before = file.read_text() if file.exists() else ""
    file.write_text(f"{before}\n{text}\n")
    place = "" if line.split(":")[0].isupper() else "config/"
    where = before.count("\n") + 4
    return SETTINGS | {"MAIL_PORT": "25", "DB_PORT": "5432"} | variables, f"Cannot start: {place}{line}\n".replace(
        "{line}", str(where)
    )


def serve(project, settings):
    return subprocess.run(
        [sys.executable, "-m", "zuplo_origin.server"],
        cwd=project,
        env=clean_environment(HOST="127.0.0.1", PORT=str(free_port()), **settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_project_without_a_fault_starts(project):
    assert craft(project, "routes:list", MAIL_PORT="25", DB_PORT="5432", **SETTINGS).returncode == 0


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_one_line_and_a_status_in_commands(name, project):
    settings, expected = make(project, name)
    ended = craft(project, "routes:list", **settings)

    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", expected)


def test_fault_is_the_first_line_in_development(project):
    settings, expected = make(project, "cache, driver")
    settings = {key: value for key, value in settings.items() if not key.startswith("JWT")}
    ended = craft(project, "serve", "--port", str(free_port()), **settings)

    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", expected)


def test_mail_without_a_host_stops_what_sends_mails(project):
    file = project / "config/mail.py"
    file.write_text(f"{file.read_text()}\nDRIVERS['smtp']['host'] = os.environ.get('MAIL_HOST')\n")
    settings = SETTINGS | {"MAIL_PORT": "25"}
    for command in ("queue:work", "schedule:run"):
        ended = craft(project, command, **settings)

        assert (ended.returncode, ended.stdout) == (3, "")
        assert ended.stderr.startswith("Cannot start: config/mail.py: smtp: host not set; set MAIL_HOST")
    assert craft(project, "routes:list", **settings).returncode == 0  # as in the build of an image


def test_mail_without_a_host_is_one_line_on_the_production_server(project):
    file = project / "config/mail.py"
    file.write_text(f"{file.read_text()}\nDRIVERS['smtp']['host'] = os.environ.get('MAIL_HOST')\n")
    ended = serve(project, SETTINGS | {"MAIL_PORT": "25"})

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Cannot start: config/mail.py: smtp: host not set; set MAIL_HOST")
    assert ended.stderr.count("\n") == 1


def test_driver_that_a_later_provider_adds_is_accepted(project):
    with open(project / "config/providers.py", "a") as providers:
        providers.write(
            "\nclass PigeonProvider(PROVIDERS[-1].__mro__[1]):\n    def register(self):\n"
            "        self.application.make('mail').drivers['pigeon'] = object()\n\nPROVIDERS.append(PigeonProvider)\n"
        )
    with open(project / "config/mail.py", "a") as mail:
        mail.write("\nDRIVERS |= {'default': 'pigeon', 'pigeon': {}}\n")

    assert craft(project, "routes:list", MAIL_PORT="25", **SETTINGS).returncode == 0
