"""A real SMTP server on a loopback port: STARTTLS, TLS from the start, AUTH PLAIN, and faults on request."""

import base64
import email
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default


@dataclass
class Mail:
    """A received mail: its envelope, its content, whether it came over TLS, and the user that logged in."""

    sender: str
    recipients: list[str]
    content: bytes
    is_encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=default)


@dataclass
class SmtpServer:
    """Accepts all mails, except for recipients in ``unknown``. The end of the `with` block stops it.

    With ``context``, it offers STARTTLS, or speaks TLS from the start if ``is_tls`` is set. With ``users``, it requires
    a login over AUTH PLAIN. If ``silent`` is set, it accepts connections, and says nothing.
    """

    context: ssl.SSLContext | None = None
    is_tls: bool = False
    users: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    silent: bool = False
    mails: list[Mail] = field(default_factory=list)

    def __enter__(self) -> "SmtpServer":
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                session = _Session(owner, self)
                try:
                    session.run()
                finally:
                    session.close()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """Ignore clients that break off."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Session:
    def __init__(self, server: SmtpServer, handler: socketserver.StreamRequestHandler) -> None:
        self._server, self._connection = server, handler.connection
        self._connection.settimeout(30)
        self._is_encrypted, self._user = False, None
        if server.is_tls:
            self._encrypt()
        self._file = self._connection.makefile("rwb")

    def _encrypt(self) -> None:
        self._connection = self._server.context.wrap_socket(self._connection, server_side=True)
        self._is_encrypted = True

    def close(self) -> None:
        self._file.close()
        self._connection.close()

    def _say(self, *lines: str) -> None:
        self._file.write("".join(f"{line}\r\n" for line in lines).encode())
        self._file.flush()

    def run(self) -> None:
        if self._server.silent:
            self._file.read(1)
            return
        self._say("220 test")
        sender, recipients = "", []
        while line := self._file.readline().decode("utf-8").rstrip("\r\n"):
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                self._say(*self._extensions())
            elif verb == "STARTTLS":
                self._say("220 go")
                self._encrypt()
                self._file = self._connection.makefile("rwb")
            elif verb == "AUTH":
                _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                is_right = self._server.users.get(user) == password
                self._user = user if is_right else None
                self._say("235 welcome" if is_right else "535 wrong")
            elif verb == "MAIL":
                sender, recipients = line.partition("<")[2].partition(">")[0], []
                self._say("530 log in" if self._server.users and self._user is None else "250 ok")
            elif verb == "RCPT":
                address = line.partition("<")[2].partition(">")[0]
                if address in self._server.unknown:
                    self._say("550 unknown")
                else:
                    recipients.append(address)
                    self._say("250 ok")
            elif verb == "DATA":
                self._say("354 go")
                content = b""
                while (read := self._file.readline()) != b".\r\n":
                    content += read.removeprefix(b".")
                mail = Mail(sender, recipients, content, self._is_encrypted, self._user)
                self._server.mails.append(mail)
                self._say("250 ok")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _extensions(self) -> list[str]:
        extensions = ["250-test", "250-SMTPUTF8", "250-8BITMIME"]
        if self._server.context and not self._is_encrypted:
            extensions.append("250-STARTTLS")
        return [*extensions, "250 AUTH PLAIN" if self._server.users else "250 HELP"]
