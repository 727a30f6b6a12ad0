"""Count the project's own calls and files in one request.

``python -m benchmarks.path``

Starts the application in this process, with an issuer on loopback, and profiles two requests for ``/protected``: one
whose key is cached, and one whose key set must be fetched first. Prints the number of own calls and own files of the
request, and of the key set on its way from the issuer to the verifier.
"""

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from package_tests.support.issuer import Issuer
from package_tests.support.signing import Key
from package_tests.support.wsgi_client import environ

from .in_process import call, start

ROOT = Path(__file__).resolve().parents[1]
OWN = ("app", "config", "routes", "zuplo_origin", "wsgi.py", "Kernel.py")
COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")


class Profile:
    """Own calls in all threads, by file.

    ``key_set`` has those made from within ``jwks``, except for the log and for the place of a waiting thread.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.key_set: Counter[str] = Counter()
        self.is_recording = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if not self.is_recording or event != "call" or frame.f_code.co_name in COMPREHENSIONS:
            return
        file = own_file(frame)
        if file is None:
            return
        self.calls[file] += 1
        callers = [each.f_code.co_filename for each in frames(frame)]
        is_beside = logging.__file__ in callers or "/observability/" in file or file.endswith("/waiting.py")
        if any("/jwks/" in each for each in callers) and not is_beside:
            self.key_set[file] += 1

    @contextmanager
    def recording(self) -> Iterator["Profile"]:
        """Record from here on, without what was recorded before."""
        self.calls, self.key_set = Counter(), Counter()
        self.is_recording = True
        try:
            yield self
        finally:
            self.is_recording = False


def own_file(frame: FrameType) -> str | None:
    """Return the path of the project's file that ``frame`` belongs to, ``None`` for a file of a library."""
    file = os.path.relpath(frame.f_code.co_filename, ROOT)
    return file if file.split(os.sep)[0] in OWN else None


def frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield ``frame`` and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def main() -> None:
    profile = Profile()
    threading.setprofile(profile)  # before the application starts: its threads are profiled as well
    issuer = Issuer([Key("EdDSA", "first")])
    application = start(issuer)
    headers = [{"Authorization": f"Bearer {issuer.token(jti=jti)}"} for jti in ("warm-up", "profiled")]
    call(application, [environ("GET", "/protected", headers[0])])
    sys.setprofile(profile)
    with profile.recording():
        statuses = call(application, [environ("GET", "/protected", headers[1])])
    report("a request with a token not seen before", profile.calls, statuses)

    issuer.keys = [Key("EdDSA", "second")]
    rotated = {"Authorization": f"Bearer {issuer.token()}"}
    with profile.recording():
        statuses = call(application, [environ("GET", "/protected", rotated)])
    sys.setprofile(None)
    report("a request with a token whose key set must be fetched", profile.calls, statuses)
    report("of these, the key set from HTTP to the verifier", profile.key_set, statuses)


def report(title: str, calls: Counter[str], statuses: list[str]) -> None:
    print(f"{title} ({', '.join(statuses)}): {sum(calls.values())} calls in {len(calls)} files")
    for file, count in calls.most_common():
        print(f"  {count:4} {file}")


if __name__ == "__main__":
    main()
