"""Mail: each message has options of its own, and its headers contain nothing that a client added."""

import mimetypes
import os
import re
import smtplib
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from copy import copy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses, make_msgid
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import requests
from masonite.mail import Mail as MasoniteMail
from masonite.mail import Mailable
from masonite.mail import MockMail as MasoniteMockMail
from masonite.mail.drivers import MailgunDriver as MasoniteMailgunDriver
from masonite.mail.drivers import SMTPDriver as MasoniteSMTPDriver
from masonite.mail.drivers import TerminalDriver as MasoniteTerminalDriver

from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.kernel import Provider

from .common import own_copy, read
from .start import name_of_setting, problem_with_number, sends_mail

TIMEOUT = 10.0
"""Seconds for each step with a mail server, unless the driver's option ``timeout`` says otherwise."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_OWN_HEADERS = frozenset({"bcc", "cc", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"})


class InvalidMail(HttpException, ValueError):
    """A recipient, a subject or a header that no message can have. Responded to with 400 if a request sent it."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason=reason)

    def __str__(self) -> str:
        return str(self.reason)


def _checked(name: str, value: Any) -> str:
    text = str(value)
    if _CONTROL.search(text):
        raise InvalidMail(f"{name}: a line break or another control character in {text[:80]!r}")
    return text


def addresses(name: str, value: str | Iterable[str] | None) -> list[Address]:
    """Return the addresses in ``value``: ``Jane <jane@example.com>``, several with commas, or a list of single ones.

    Raises ``InvalidMail`` for anything else. ``name`` is for its message.
    """
    if not value:
        return []
    found = []
    for text in [value] if isinstance(value, str) else list(value):
        parsed = getaddresses([_checked(name, text)])
        if not isinstance(value, str) and len(parsed) != 1:
            raise InvalidMail(f"{name}: {text[:80]!r} in a list is not one address")
        for display, address in parsed:
            try:
                made = Address(display, addr_spec=address)
            except (ValueError, MessageError, IndexError):
                made = Address()
            if not (made.username and made.domain):
                raise InvalidMail(f"{name}: {text[:80]!r} is not an e-mail address")
            found.append(made)
    return found


def message_of(options: dict[str, Any], base: str = "") -> EmailMessage:
    """Return the message that the options of a mailable describe. ``Bcc`` is not among its headers.

    Raises ``InvalidMail`` for invalid addresses and headers, and ``OSError`` if an attachment cannot be read.
    """
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _checked("subject", options.get("subject") or "")
    sender = addresses("from", options.get("from"))
    if not sender:
        raise ValueError("the mail has no sender; call from_(…), or set `from` of the driver in config/mail.py")
    message["From"] = sender
    for header, key in (("To", "to"), ("Cc", "cc"), ("Reply-To", "reply_to")):
        if found := addresses(key, options.get(key)):
            message[header] = found
    if not recipients(options):
        raise ValueError("the mail has no recipient; call to(…), cc(…) or bcc(…)")
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender[0].domain)  # without it, a look-up of this host's name
    if options.get("priority"):
        message["X-Priority"] = _checked("priority", options["priority"])
    for name, value in (options.get("headers") or {}).items():
        if not _HEADER_NAME.fullmatch(str(name)) or str(name).lower() in _OWN_HEADERS:
            raise InvalidMail(f"headers: {str(name)[:80]!r} is not a header that can be set")
        message[str(name)] = _checked(str(name), value)
    text, html = options.get("text_content"), options.get("html_content")
    if text or not html:
        message.set_content(text or "")
        if html:
            message.add_alternative(html, subtype="html")
    else:
        message.set_content(html, subtype="html")
    for attachment in options.get("attachments") or []:
        name = _checked("attachment", attachment.alias)
        kind = (mimetypes.guess_type(name)[0] or "application/octet-stream").split("/")
        with open(os.path.join(base, attachment.path), "rb") as file:
            message.add_attachment(file.read(), maintype=kind[0], subtype=kind[1], filename=name)
    return message


def recipients(options: dict[str, Any]) -> list[str]:
    """Return the addresses that receive the mail, those of ``bcc`` included."""
    found = [each.addr_spec for key in ("to", "cc", "bcc") for each in addresses(key, options.get(key))]
    return list(dict.fromkeys(found))


class Mail(MasoniteMail):
    """Masonite's ``Mail``, bound as ``mail`` for each request, job and task."""

    def mailable(self, mailable: Mailable) -> "Mail":
        """Return a mail to send: ``mail.mailable(Welcome().to("user@example.com")).send()``."""
        own = own_copy(mailable).set_application(self.application)
        self.options = (own.build() or own).get_options()
        return copy(self)

    def send(self, mailable: Mailable | str | None = None, driver: str | None = None) -> Any:
        """Send the mail with ``driver``, or the mailable's, or the default one. A mailable can be passed here too."""
        if isinstance(mailable, Mailable):
            return self.mailable(mailable).send(driver=driver)
        if not self.options:
            raise ValueError("there is no mail to send; call mail.mailable(…).send()")
        selected = mailable or driver or self.options.get("driver") or self.driver_config.get("default")
        return self._deliver(str(selected), self.options_for(str(selected)))

    def options_for(self, driver: str) -> dict[str, Any]:
        """Return the options of this mail and the driver's. The mail's own ``from`` takes precedence."""
        configured = dict(self.driver_config.get(driver) or {})
        if self.options.get("from"):
            configured.pop("from", None)
        return {**self.options, **configured}

    def _deliver(self, driver: str, options: dict[str, Any]) -> Any:
        if driver not in self.drivers:
            raise ValueError(f"there is no mail driver {driver!r}, but {', '.join(self.drivers)}")
        return copy(self.drivers[driver]).set_options(options).send()

    def get_config_options(self, driver: str | None = None) -> dict[str, Any]:
        return dict(self.driver_config.get(driver or self.driver_config.get("default")) or {})


class SMTPDriver(MasoniteSMTPDriver):
    """Masonite's driver ``smtp``, with time-outs, and with certificates that are checked.

    Options: ``host``, ``port``, ``username``, ``password``, ``from``, ``timeout``; ``ssl`` for TLS from the start,
    ``tls`` for STARTTLS. Without either, STARTTLS is used if the server offers it; ``"tls": False`` never uses it.
    """

    def get_mime_message(self) -> EmailMessage:
        return message_of(self.options, self.application.base_path)

    def make_connection(self) -> smtplib.SMTP:
        options = self.options
        host, port = options.get("host"), int(options.get("port") or 0)
        if not host:
            raise ValueError("the mail driver smtp has no host; set it in config/mail.py")
        given: dict[str, Any] = {"timeout": float(options.get("timeout") or TIMEOUT), "local_hostname": _own_name()}
        with ExitStack() as stack:
            if options.get("ssl"):
                smtp: smtplib.SMTP = stack.enter_context(smtplib.SMTP_SSL(host, port, context=_tls(), **given))
                is_encrypted = True
            else:
                smtp = stack.enter_context(smtplib.SMTP(host, port, **given))
                is_encrypted = self._start_tls(smtp)
            if options.get("username") and options.get("password"):
                if not is_encrypted and options.get("tls") is not False and not _is_loopback(str(host)):
                    raise ValueError(
                        f"{host} offers no TLS: the password would be readable; set tls to False to send it"
                    )
                smtp.login(str(options["username"]), str(options["password"]))
            stack.pop_all()
        return smtp

    def _start_tls(self, smtp: smtplib.SMTP) -> bool:
        wanted = self.options.get("tls")
        smtp.ehlo_or_helo_if_needed()
        if not wanted and (wanted is False or not smtp.has_extn("starttls")):
            return False
        smtp.starttls(context=_tls())  # raises SMTPNotSupportedError if it is not offered
        return True

    def send(self) -> None:
        message, envelope = self.get_mime_message(), recipients(self.options)
        sender = addresses("from", self.options.get("from"))[0].addr_spec
        with self.make_connection() as smtp:
            smtp.send_message(message, sender, envelope)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all trusted certificates: 20 ms


@lru_cache(maxsize=1)
def _own_name() -> str:
    return socket.gethostname() or "localhost"  # smtplib would ask the name server for each mail


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class TerminalDriver(MasoniteTerminalDriver):
    """Masonite's driver ``terminal``: prints the mail, with one call, so that mails do not mix."""

    def send(self) -> None:
        message, options, line = message_of({**self.options, "attachments": []}), self.options, "-" * 37
        headers = [f"{name}: {message[name]}" for name in ("To", "From", "Cc") if message[name]]
        bcc = ", ".join(str(each) for each in addresses("bcc", options.get("bcc")))
        headers += [f"Bcc: {bcc}"] if bcc else []
        headers += [f"Subject: {options.get('subject') or ''}"]
        headers += [f"{name}: {value}" for name, value in (options.get("headers") or {}).items()]
        parts = ["\n".join(headers), str(options.get("html_content") or "")]
        if options.get("text_content"):
            parts.append(f"Text Content: {options['text_content']}")
        attached = [
            f"Attachment {number}: {_checked('attachment', each.alias)} from {each.path}"
            for number, each in enumerate(options.get("attachments") or [], 1)
        ]
        if attached:
            parts.append("\n".join(attached))
        print("\n".join([line, f"\n{line}\n".join(parts)]), flush=True)


class MailgunDriver(MasoniteMailgunDriver):
    """Masonite's driver ``mailgun``, with a time-out. It raises an exception if Mailgun does not accept the mail.

    The option ``endpoint`` replaces the URL that ``region`` selects.
    """

    ENDPOINTS = {"us": "https://api.mailgun.net/v3", "eu": "https://api.eu.mailgun.net/v3"}  # noqa: RUF012

    def get_mime_message(self) -> dict[str, Any]:
        options = self.options
        message = message_of({**options, "attachments": []})
        data: dict[str, Any] = {"from": str(message["From"]), "subject": str(message["Subject"])}
        for key in ("to", "cc", "bcc"):
            if found := addresses(key, options.get(key)):
                data[key] = [str(each) for each in found]
        if message["Reply-To"]:
            data["h:Reply-To"] = str(message["Reply-To"])
        if options.get("priority"):
            data["h:X-Priority"] = str(options["priority"])
        data |= {f"h:{name}": str(value) for name, value in (options.get("headers") or {}).items()}
        data |= {"html": options.get("html_content") or None, "text": options.get("text_content") or None}
        return data

    def send(self) -> Any:
        options = self.options
        endpoint = options.get("endpoint") or self.ENDPOINTS.get(str(options.get("region") or "us").lower())
        if not (endpoint and options.get("domain") and options.get("secret")):
            raise ValueError("the mail driver mailgun needs domain, secret, and us or eu as region; see config/mail.py")
        with ExitStack() as stack:
            files = [
                ("attachment", (_checked("attachment", each.alias), stack.enter_context(self._open(each.path))))
                for each in options.get("attachments") or []
            ]
            response = requests.post(
                f"{endpoint}/{options['domain']}/messages",
                auth=("api", str(options["secret"])),
                data=self.get_mime_message(),
                files=files or None,
                timeout=float(options.get("timeout") or TIMEOUT),
            )
        response.raise_for_status()
        return response

    def _open(self, path: str) -> Any:
        return open(os.path.join(self.application.base_path, path), "rb")


class MockMail(MasoniteMockMail, Mail):
    """The fake of ``mail`` in tests, with Masonite's assertions: ``self.fake("mail").seeEmailWasSent()``.

    The assertions are about the last mail.
    """

    def mailable(self, mailable: Mailable) -> "MockMail":
        super().mailable(mailable)
        return self

    send = Mail.send

    def _deliver(self, driver: str, options: dict[str, Any]) -> "MockMail":
        message_of({**options, "attachments": []})  # raises what the drivers raise
        self.driver, self.options = driver, options
        self.count += 1
        return self


def problems_of(drivers: dict[str, Any], known: Iterable[str], is_used: bool) -> Iterator[str]:
    """Yield a sentence for each fault of ``DRIVERS`` in ``config/mail.py``.

    ``known`` are the drivers that there are. Values that are not set are faults only if mails are sent.
    """
    place, default, known = "config/mail.py", drivers.get("default"), list(known)
    if default not in known or not isinstance(drivers.get(str(default)), dict):
        name = name_of_setting(f"{place}: default", "MAIL_DRIVER", default)
        known = [each for each in known if isinstance(drivers.get(each), dict)]
        yield f"{name}: invalid driver {str(default)[:80]!r}; expected {_listed(known)}"
    for driver, options in drivers.items():
        if driver == "default":
            continue
        if not isinstance(options, dict):
            yield f"{place}: {driver}: invalid value {str(options)[:80]!r}; expected a dict of options"
            continue
        port = options.get("port")
        yield from problem_with_number(name_of_setting(f"{place}: {driver}: port", "MAIL_PORT", port), port, 1, 65535)
        yield from problem_with_number(f"{place}: {driver}: timeout", options.get("timeout"), 0.01, whole=False)
    smtp, mailgun = drivers.get("smtp"), drivers.get("mailgun")
    if is_used and default == "smtp" and isinstance(smtp, dict) and not smtp.get("host"):
        yield f"{place}: smtp: host not set; set MAIL_HOST, or the variable that this file reads, to a mail server"
    if is_used and default == "mailgun" and isinstance(mailgun, dict):
        for option in ("domain", "secret"):
            if not mailgun.get(option):
                yield f"{place}: mailgun: {option} not set"
        region = str(mailgun.get("region") or "us").lower()
        if not mailgun.get("endpoint") and region not in MailgunDriver.ENDPOINTS:
            yield f"{place}: mailgun: region: invalid value {region[:80]!r}; expected us or eu"


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "a driver"


class MailProvider(Provider):
    """Binds ``mail``, with the drivers of ``config/mail.py``."""

    def problems_at_start(self) -> Iterator[str]:
        mail = self.application.make("mail")
        return problems_of(mail.driver_config, mail.drivers, sends_mail(self.application))

    def register(self) -> None:
        application, drivers = self.application, read(self.application, "mail.drivers")
        mail = Mail(application).set_configuration(drivers)
        mail.add_driver("smtp", SMTPDriver(application))
        mail.add_driver("mailgun", MailgunDriver(application))
        mail.add_driver("terminal", TerminalDriver(application))
        application.scoped("mail", Mail, lambda: copy(mail))
        application.bind("mock.mail", MockMail(application).set_configuration(drivers))
