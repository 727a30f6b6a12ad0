"""How soon a process answers, and how large it is: ``python -m benchmarks.start [--rounds N]``

Starts the production server, and prints the medians of: the time from the start to the first answer, and the resident
memory of a process before its first request; then the memory of each after 100,000 requests and more, with 20,000
tokens in turn.

Needs ``wrk`` (the Debian package).
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

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
            with production(port, log, **settings) as server:  # until its first answer
                seconds.append(time.perf_counter() - began)
                time.sleep(1)  # until the other process has started too
                fresh.append(largest_mib(server.process.pid))
        print(f"first answer after {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s")
        print(f"a process before its first request: {statistics.median(fresh):.1f} MiB")
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
