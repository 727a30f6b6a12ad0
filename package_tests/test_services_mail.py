"""Mail: a real SMTP server on loopback receives it."""

import http.server
import smtplib
import ssl
import threading
import time

import pytest
from masonite.controllers import Controller
from masonite.mail import Mail, Mailable
from masonite.request import Request
from masonite.routes import Route

from package_tests.support.certificates import Authority
from package_tests.support.service_project import service_application
from package_tests.support.smtp import SmtpServer
from package_tests.support.wsgi_client import request
from zuplo_origin.services import MailProvider
from zuplo_origin.services import mail as module


class Welcome(Mailable):
    def build(self):
        return self.subject("Welcome").text("Hello")


class NoReturn(Mailable):
    def build(self):
        self.subject("Welcome").text("Hello")


class MailController(Controller):
    def send(self, request: Request, mail: Mail):
        name, subject = request.input("name"), request.input("subject")
        mail.mailable(Welcome().to(f"{name} <jane@example.com>").header("X-Subject", subject)).send()
        return {"sent": True}


def application(folder, port, **options):
    smtp = {"host": "127.0.0.1", "port": str(port), "from": "Origin <origin@example.com>"} | options
    drivers = {
        "default": "smtp",
        "smtp": smtp,
        "mailgun": {"domain": "d", "secret": "s"},
        "terminal": {"from": "a@b.c"},
    }
    made = service_application(folder, MailProvider, mail={"drivers": drivers})
    made.make("router").add(Route.post("/send", MailController.send))
    return made


@pytest.fixture(scope="module")
def smtp():
    with SmtpServer() as server:
        yield server


@pytest.fixture
def mail(tmp_path, smtp):
    smtp.mails.clear()
    return application(tmp_path, smtp.port).make("mail")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def context(authority, monkeypatch):
    certificate, key = authority.issue("smtp")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    module._tls.cache_clear()
    yield context
    module._tls.cache_clear()


def test_mail_has_all_that_the_mailable_says(mail, smtp, tmp_path):
    (tmp_path / "invoice.pdf").write_bytes(b"%PDF\xff")
    welcome = Welcome().to("Jané <jane@example.com>, b@example.com").cc(["c@example.com"]).bcc(["d@example.com"])
    welcome.reply_to("r@example.com").html("<p>Hello</p>").high_priority().header("X-One", "1")
    mail.mailable(welcome.attach("MAY.pdf", "invoice.pdf")).send()

    (received,) = smtp.mails
    message = received.message
    assert received.recipients == ["jane@example.com", "b@example.com", "c@example.com", "d@example.com"]
    options = {"from": "a@example.com", "bcc": "d@example.com"}
    assert "d@example.com" not in module.message_of(options).as_string()
    assert received.sender == "origin@example.com" and b"d@example.com" not in received.content
    assert [
        str(message[name]) for name in ("Subject", "From", "To", "Cc", "Bcc", "Reply-To", "X-Priority", "X-One")
    ] == [
        "Welcome",
        "Origin <origin@example.com>",
        "Jané <jane@example.com>, b@example.com",
        "c@example.com",
        "None",
        "r@example.com",
        "1",
        "1",
    ]
    assert message["Date"] and message["Message-ID"].endswith("@example.com>")
    assert message.get_body(("plain",)).get_content().strip() == "Hello"
    assert message.get_body(("html",)).get_content().strip() == "<p>Hello</p>"
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("MAY.pdf", b"%PDF\xff")


def test_sender_of_the_configuration_is_used_for_every_mail_without_one(mail, smtp):
    for sender in ("own@example.com", "", ""):
        mail.mailable(Welcome().to("a@example.com").from_(sender)).send()

    assert [each.sender for each in smtp.mails] == ["own@example.com", "origin@example.com", "origin@example.com"]


@pytest.mark.parametrize("kind", [Welcome, NoReturn])
def test_mailable_is_not_changed_by_sending_it(mail, smtp, kind):
    mailable = kind().to("a@example.com")
    for _ in range(2):
        mail.send(mailable)

    assert mailable.get_options()["subject"] == "" and len(smtp.mails) == 2


def test_two_mails_of_one_object_are_independent(mail, smtp):
    first = mail.mailable(Welcome().to("a@example.com"))
    second = mail.mailable(Welcome().to("b@example.com"))
    first.send()
    second.send()

    assert [each.recipients for each in smtp.mails] == [["a@example.com"], ["b@example.com"]]


def test_mail_can_be_sent_in_two_steps_and_is_not_that_of_another_request(tmp_path, smtp):
    made = application(tmp_path, smtp.port)
    with made.scope():
        made.make("mail").mailable(Welcome().to("a@example.com"))
        with made.scope(), pytest.raises(ValueError, match=r"no mail to send; call mail\.mailable"):
            made.make("mail").send()
        smtp.mails.clear()
        made.make("mail").send()

    assert [each.recipients for each in smtp.mails] == [["a@example.com"]]


@pytest.mark.parametrize(
    "change",
    [
        lambda mailable: mailable.subject("a\r\nBcc: evil@example.com"),
        lambda mailable: mailable.subject("a\nb"),
        lambda mailable: mailable.to("Jane\r\nBcc: evil@example.com <a@example.com>"),
        lambda mailable: mailable.to("a@example.com\r\nRCPT TO:<evil@example.com>"),
        lambda mailable: mailable.to(["a@example.com\n"]),
        lambda mailable: mailable.to(["Jane, evil@example.com <a@example.com>"]),
        lambda mailable: mailable.to("jane"),
        lambda mailable: mailable.to("jane@"),
        lambda mailable: mailable.to("@example.com"),
        lambda mailable: mailable.to("<>"),
        lambda mailable: mailable.to("a b@example.com"),
        lambda mailable: mailable.cc("a@example.com\r"),
        lambda mailable: mailable.bcc(["x"]),
        lambda mailable: mailable.from_("a@example.com\nX: y"),
        lambda mailable: mailable.reply_to("a@example.com\x0bX"),
        lambda mailable: mailable.priority("1\r\nX: y"),
        lambda mailable: mailable.header("X-A", "b\r\nX: y"),
        lambda mailable: mailable.header("X-A: b\r\nX", "y"),
        lambda mailable: mailable.header("Bcc", "evil@example.com"),
        lambda mailable: mailable.header("Subject", "another"),
        lambda mailable: mailable.header("", "y"),
        lambda mailable: mailable.attach("a\r\nX: y", __file__),
    ],
)
@pytest.mark.parametrize("driver", ["smtp", "terminal"])
def test_invalid_addresses_and_headers_are_not_sent(mail, smtp, change, driver, capsys):
    class Plain(Mailable):
        pass

    mailable = Plain().to("a@example.com").subject("a")
    with pytest.raises(module.InvalidMail):
        mail.mailable(change(mailable)).send(driver=driver)

    assert smtp.mails == [] and capsys.readouterr().out == ""


def test_line_breaks_of_a_client_are_400(tmp_path, smtp):
    made = application(tmp_path, smtp.port)
    smtp.mails.clear()
    for fields in ({"name": "a\r\nBcc: x@y.z", "subject": "s"}, {"name": "a", "subject": "s\nX: y"}):
        body = "&".join(f"{name}={value}".replace("\r", "%0D").replace("\n", "%0A") for name, value in fields.items())
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = request(made, "POST", "/send", headers, body.encode())
        assert (response.status, response.json) == (400, {"error": "Bad request"})

    assert smtp.mails == []


def test_mail_without_recipient_or_sender_is_an_error(tmp_path, smtp):
    made = application(tmp_path, smtp.port, **{"from": None}).make("mail")
    with pytest.raises(ValueError, match="no sender; call from_"):
        made.send(Welcome().to("a@example.com"))
    with pytest.raises(ValueError, match="no recipient; call to"):
        made.send(Welcome().from_("a@example.com"))


def test_unknown_driver_is_named(mail):
    with pytest.raises(ValueError, match="no mail driver 'pigeon', but smtp, mailgun, terminal"):
        mail.send(Welcome().to("a@example.com"), driver="pigeon")


def test_starttls_is_used_when_offered_and_the_login_is_sent_over_it(tmp_path, context):
    with SmtpServer(context, users={"user": "secret"}) as server:
        made = application(tmp_path, server.port, username="user", password="secret")
        made.make("mail").send(Welcome().to("a@example.com"))

        assert [(each.is_encrypted, each.user) for each in server.mails] == [(True, "user")]


def test_tls_from_the_start(tmp_path, context):
    with SmtpServer(context, is_tls=True) as server:
        application(tmp_path, server.port, ssl=True).make("mail").send(Welcome().to("a@example.com"))

        assert [each.is_encrypted for each in server.mails] == [True]


def test_tls_that_is_required_but_not_offered_is_an_error(tmp_path, smtp):
    smtp.mails.clear()
    with pytest.raises(smtplib.SMTPNotSupportedError):
        application(tmp_path, smtp.port, tls=True).make("mail").send(Welcome().to("a@example.com"))
    assert smtp.mails == []


def test_certificate_of_another_authority_is_not_accepted(tmp_path, context, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    module._tls.cache_clear()
    with SmtpServer(context) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            application(tmp_path, server.port, tls=True).make("mail").send(Welcome().to("a@example.com"))
        application(tmp_path, server.port, tls=False).make("mail").send(Welcome().to("a@example.com"))

        assert [each.is_encrypted for each in server.mails] == [False]


def test_password_is_not_sent_in_plain_text_to_another_host(tmp_path, monkeypatch):
    with SmtpServer(users={"user": "secret"}) as server:
        options = {"username": "user", "password": "secret"}
        monkeypatch.setattr(module, "_is_loopback", lambda host: False)
        with pytest.raises(ValueError, match="offers no TLS"):
            application(tmp_path, server.port, **options).make("mail").send(Welcome().to("a@example.com"))
        application(tmp_path, server.port, tls=False, **options).make("mail").send(Welcome().to("a@example.com"))

        assert [each.user for each in server.mails] == ["user"]


@pytest.mark.parametrize(
    ("host", "is_loopback"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("a.b", False)]
)
def test_loopback_hosts_are_known(host, is_loopback):
    assert module._is_loopback(host) is is_loopback


def test_wrong_password_does_not_reach_the_message_of_the_error(tmp_path):
    with SmtpServer(users={"user": "secret"}) as server:
        made = application(tmp_path, server.port, username="user", password="wrong-password").make("mail")
        with pytest.raises(smtplib.SMTPAuthenticationError) as raised:
            made.send(Welcome().to("a@example.com"))

        assert "wrong-password" not in str(raised.value) and server.mails == []


def test_unknown_recipient_is_an_error(tmp_path):
    with SmtpServer(unknown={"a@example.com"}) as server, pytest.raises(smtplib.SMTPException, match="unknown"):
        application(tmp_path, server.port).make("mail").send(Welcome().to("a@example.com"))


def test_silent_server_is_given_up_after_the_time_out(tmp_path):
    with SmtpServer(silent=True) as server:
        made = application(tmp_path, server.port, timeout=0.3).make("mail")
        began = time.monotonic()
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            made.send(Welcome().to("a@example.com"))

        assert time.monotonic() - began < 10


def test_terminal_driver_prints_the_mail(mail, capsys):
    welcome = (
        Welcome().to("a@example.com").bcc("b@example.com").html("<p>").attach("a.pdf", "nowhere.pdf").header("X-A", "1")
    )
    mail.send(welcome, driver="terminal")

    printed = capsys.readouterr().out
    for line in (
        "To: a@example.com",
        "From: a@b.c",
        "Bcc: b@example.com",
        "Subject: Welcome",
        "X-A: 1",
        "<p>",
        "Hello",
    ):
        assert line in printed
    assert "Attachment 1: a.pdf from nowhere.pdf" in printed


def test_mailgun_receives_the_mail_and_its_error_is_an_exception(tmp_path, smtp):
    received, status = [], 200

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Authorization"], body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        made = application(tmp_path, smtp.port)
        options = {"domain": "d.example", "secret": "s", "endpoint": f"http://127.0.0.1:{server.server_port}"}
        made.make("mail").driver_config["mailgun"] = options
        (tmp_path / "a.txt").write_text("attached")
        mailable = Welcome().to("a@example.com").cc("c@example.com").bcc(["b@example.com"]).from_("o@example.com")
        mailable.priority(1).header("X-A", "1").attach("name.txt", "a.txt")
        made.make("mail").send(mailable, driver="mailgun")
        status = 401
        with pytest.raises(OSError, match="401"):
            made.make("mail").send(mailable, driver="mailgun")
    finally:
        server.shutdown()
        server.server_close()

    path, authorization, body = received[0]
    assert path == "/d.example/messages" and authorization.startswith("Basic ")
    for part in (
        "a@example.com",
        "c@example.com",
        "b@example.com",
        "h:X-Priority",
        "h:X-A",
        "name.txt",
        "attached",
        "Hello",
    ):
        assert part in body.decode()


@pytest.mark.parametrize("drivers", [None, {}, {"default": "smtp"}, {"smtp": {}}])
def test_missing_configuration_stops_the_start(tmp_path, drivers, capsys):
    with pytest.raises(SystemExit) as ended:
        service_application(tmp_path, MailProvider, mail={"drivers": drivers})

    assert ended.value.code == 3
    assert capsys.readouterr().err.startswith("Cannot start: config/mail.py")
