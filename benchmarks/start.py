"""Time to the first response, and memory: ``python -m benchmarks.start [--rounds N]``

Starts the production server, and prints the medians of the time from the start to the first response, and of the
resident memory of a worker before its first request; then the memory of each worker after each of four times 100,000
requests, with 20,000 tokens in turn.

Needs ``wrk`` (the Debian package).
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from package_tests.support.controllers import wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.servers import free_port, production
from package_tests.support.signing import Key

from .processes import family, largest_mib, resident_mib
from .saturation import load

REQUESTS = 100_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    issuer = Issuer([Key("EdDSA", "k-EdDSA")])
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "https://api.test/*"}
    with tempfile.TemporaryDirectory() as folder:
        tokens, log = Path(folder) / "tokens", Path(folder) / "log"
        minted = [issuer.token(jti=str(number), exp=2**40) for number in range(20_000)]
        tokens.write_text("\n".join(minted) + "\n")
        seconds, fresh = [], []
        for _ in range(options.rounds):
            port, began = free_port(), time.perf_counter()
            with production(port, log, **settings) as server:  # which has responded
                seconds.append(time.perf_counter() - began)
                wait_until(lambda server=server: "server_ready" in server.output())
                fresh.append(largest_mib(server.process.pid))
        print(f"first response after {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s")
        print(f"a worker before its first request: {statistics.median(fresh):.1f} MiB")
        with production(free_port(), log, **settings) as server:
            for _ in range(4):
                done = 0.0
                while done < REQUESTS:
                    rate, _ = load(server, tokens, [32], 2)
                    done += 2 * rate
                sizes = ", ".join(f"{resident_mib(pid):.1f}" for pid in family(server.process.pid)[1:])
                print(f"after {done:.0f} more requests: {sizes} MiB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
