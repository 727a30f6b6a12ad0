"""The production server: ``python -m zuplo_origin.server``, the ``web:`` line of the Procfile."""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress

from dotenv.parser import parse_stream

from zuplo_origin.observability import COUNTING_FOLDER
from zuplo_origin.observability.logs import set_up

from .counters import counters_folder
from .supervisor import Supervisor


def environment() -> Mapping[str, str]:
    """Return the environment for a new server: this process's, overridden by the present lines of ``ENV_FILE``.

    Raises ``ValueError`` if that file cannot be read, or has a line that is not ``NAME=value``.
    """
    found = dict(os.environ)
    if path := os.environ.get("ENV_FILE"):
        try:
            with open(path, encoding="utf-8") as file:
                lines = list(parse_stream(file))
        except (OSError, ValueError) as error:
            raise ValueError(f"ENV_FILE {path}: {getattr(error, 'strerror', None) or error}") from None
        for line in lines:
            if line.error or (line.key is not None and line.value is None):
                raise ValueError(f"ENV_FILE {path}, line {line.original.line}: not NAME=value")
        found |= {line.key: line.value for line in lines if line.key is not None and line.value is not None}
    return found


def main() -> int:
    """Serve in the foreground, and return the exit status."""
    if len(sys.argv) > 1:
        message = "set PORT and the other settings in the environment, or in the file that ENV_FILE names"
        print(f"zuplo_origin.server: unknown argument {sys.argv[1]!r}; {message}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until the supervisor handles them
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    set_up(os.environ.get("APP_ENV") or "production", in_batches=True)
    with ExitStack() as stack:
        with suppress(OSError):  # no folder is writable: only metrics need one, and report it
            os.environ[COUNTING_FOLDER] = stack.enter_context(counters_folder())
        try:
            return Supervisor(environment).run()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # Python removes its own handlers before the process ends


if __name__ == "__main__":
    sys.exit(main())
