"""What clients notice of a reload and of an end: ``python -m benchmarks.stop_and_start [--seconds N]``

The production server, and granian as it comes, each under wrk with 32 keep-alive connections. A third of the way, first
it is told to reload (HUP). Then there are two servers on one port, as behind a balancer, and one of them is told to end
(TERM): whoever it had let in is to be answered, and whoever it had not finds the other one. Prints the requests that
were answered, and those that were not: connections closed or reset, time-outs, other statuses. Ends with 1 where the
production server failed anybody.

Needs ``wrk`` (the Debian package).
"""

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.issuer import Issuer
from tests.support.servers import Server, free_port
from tests.support.signing import Key

SHARING = "import deploy.server as it; it._is_free = lambda port: True; it.main()"
"""The production server, which would not share a port otherwise."""
GRANIAN = "-m granian --interface wsgi --workers 2 --blocking-threads 8 --host 127.0.0.1 wsgi:application --port"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=15)
    seconds = parser.parse_args().seconds
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    issuer = Issuer([Key("EdDSA", "k-EdDSA")])
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*"}
    lost = 0
    with tempfile.TemporaryDirectory() as folder:

        def ours(port: int) -> Server:
            return Server([sys.executable, "-c", SHARING], port, Path(folder) / "log", settings | {"PORT": str(port)})

        def granian(port: int) -> Server:
            return Server([sys.executable, *GRANIAN.split(), str(port)], port, Path(folder) / "log", settings)

        for name, start in (("this application", ours), ("granian as it comes", granian)):
            failed = [reload(name, start, seconds, issuer), end(name, start, seconds, issuer)]
            lost += sum(failed) if start is ours else 0
    return 1 if lost else 0


def reload(name: str, start: Callable[[int], Server], seconds: int, issuer: Issuer) -> int:
    with start(free_port()) as server, under_load(server.port, seconds, issuer.token()) as wrk:
        server.process.send_signal(signal.SIGHUP)
        return report(f"HUP   {name}", wrk)


def end(name: str, start: Callable[[int], Server], seconds: int, issuer: Issuer) -> int:
    port = free_port()
    with start(port) as leaving, start(port), under_load(port, seconds, issuer.token()) as wrk:
        began = time.monotonic()
        leaving.process.send_signal(signal.SIGTERM)
        leaving.process.wait()
        return report(f"TERM  {name}", wrk, f", ended after {time.monotonic() - began:.1f} s")


@contextmanager
def under_load(port: int, seconds: int, token: str) -> Iterator[subprocess.Popen[str]]:
    """Run wrk, for a third of its time before the block begins."""
    time.sleep(1)  # the servers have their keys then
    header, url = f"Authorization: Bearer {token}", f"http://127.0.0.1:{port}/protected"
    command = ["wrk", "-t2", "-c32", f"-d{seconds}s", "-H", header, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        time.sleep(seconds / 3)
        yield wrk


def report(name: str, wrk: subprocess.Popen[str], more: str = "") -> int:
    told, _ = wrk.communicate()
    answered = int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    lost = sum(int(count) for count in errors.groups()) if errors else 0
    lost += int(statuses[1]) if statuses else 0
    print(f"{name:25} {answered:8} answered, {lost} failed{more}", flush=True)
    return lost


if __name__ == "__main__":
    sys.exit(main())
