"""An origin, as its clients reach it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from app.encoding import strict_json
from app.jwks.Deadline import Deadline, DeadlineAdapter
from app.jwks.fetch import is_loopback

LONGEST = 65_536
"""Bytes of an answer that are looked at."""


class BadAddress(ValueError):
    """What is to be asked for cannot be. Its text says why."""


class NoAnswer(Exception):
    """Nothing came back that is a whole answer. Its text says why."""


@dataclass(frozen=True)
class Answer:
    """What an origin answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, ``None`` where it is none."""
        try:
            return strict_json.loads(self.body)
        except ValueError:
            return None


class Origin:
    """The origin at ``url``, which takes tokens in ``header``, after ``scheme`` and a blank.

    An answer is waited for ``timeout`` seconds, to its last byte. Raises ``BadAddress``.
    """

    def __init__(self, url: str, header: str, scheme: str, timeout: float) -> None:
        self.url, self._header, self._scheme, self._timeout = url.rstrip("/"), header, scheme, timeout
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
        except ValueError:
            usable = False
        if not usable or not re.fullmatch("[!-~]+", url) or parts.query or parts.fragment:
            raise BadAddress("the address is a URL, as in https://origin.example.com")
        if not re.fullmatch("[A-Za-z0-9-]+", header) or not re.fullmatch("[!-~]*", scheme):
            raise BadAddress("--header and --scheme are words, as in Authorization and Bearer")

    def get(self, path: str, token: str | None = None) -> Answer:
        """Return the answer to a request for ``path`` with ``token``. Follows nothing; raises ``NoAnswer``."""
        headers = {"Accept": "application/json", "User-Agent": "origin-check"}
        if token is not None:
            headers[self._header] = f"{self._scheme} {token}" if self._scheme else token
        with Deadline(self._timeout) as deadline, requests.Session() as session:
            session.mount("http://", DeadlineAdapter(deadline))
            session.mount("https://", DeadlineAdapter(deadline))
            session.trust_env = not is_loopback(self.url)  # no proxy for this machine
            session.auth = _as_it_is  # nothing out of .netrc
            try:
                answer = session.get(
                    self.url + path, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                )
                body = answer.raw.read(LONGEST, decode_content=True)
            except (requests.RequestException, HTTPError, OSError) as error:
                raise NoAnswer(self._late() if deadline.over() else type(error).__name__) from None
            if deadline.over():
                raise NoAnswer(self._late())
        return Answer(answer.status_code, answer.headers, body)

    def _late(self) -> str:
        return f"not whole after {self._timeout:.0f} s"


def _as_it_is(request: Any) -> Any:
    return request
