"""What a fleet costs its issuer: ``python -m benchmarks.fleet [--processes N] [--ttl N]``

A production server of 64 processes and one issuer, through a Redis server, for three times the TTL; then the same
without a store. Somebody asks with a valid token all the while. Prints the fetches that the issuer saw in each TTL, and
the answers. Then the issuer is gone: a new process starts on what lies in the store; the store is poisoned with a
stranger's key, and another new process refuses it.

Needs ``redis-server`` (the Debian package).
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from package_tests.support.issuer import Issuer
from package_tests.support.redis import RedisServer
from package_tests.support.servers import free_port, production
from package_tests.support.signing import Key

TTLS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--ttl", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as redis:
        shared = {"JWKS_STORE": redis.url, "APP_KEY": "k" * 32}
        issuer = Issuer([Key("EdDSA", "one")])
        run("redis ", issuer, shared, options.processes, options.ttl, Path(folder))
        run("memory", issuer, {}, options.processes, options.ttl, Path(folder))
        settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "WEB_CONCURRENCY": "1"} | shared
        bearer = {"Authorization": f"Bearer {issuer.token()}"}
        issuer.close()
        with production(free_port(), Path(folder) / "outage", **settings) as server:
            print(f"the issuer is gone, a new process answers {server.get('/protected', bearer)[0]}")
        for name in redis.client.keys("*-keys"):
            redis.client.set(name, json.dumps({"keys": [Key("EdDSA", "stranger").jwk()]}))
        with production(free_port(), Path(folder) / "poisoned", **settings) as server:
            status = server.get("/protected", bearer)[0]
            told = "jwks_store_refused" in server.output()
            print(f"the store is poisoned, a new process answers {status}, and tells it: {told}")
    return 0


def run(name: str, issuer: Issuer, settings: dict[str, str], processes: int, ttl: int, folder: Path) -> None:
    issuer.requests.clear()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "JWKS_TTL": str(ttl)} | settings
    settings |= {"WEB_CONCURRENCY": str(processes), "WEB_THREADS": "2"}
    answers: Counter[int] = Counter()
    ended = threading.Event()
    with production(free_port(), folder / f"log-{name}", **settings) as server:
        bearer = {"Authorization": f"Bearer {issuer.token(exp=2**40)}"}

        def ask() -> None:
            while not ended.wait(0.02):
                answers[server.get("/protected", bearer)[0]] += 1

        asking = threading.Thread(target=ask)
        asking.start()
        fetches, before = [], 0
        for _ in range(TTLS):
            time.sleep(ttl)
            fetches.append(len(issuer.requests) - before)
            before = len(issuer.requests)
        ended.set()
        asking.join()
    print(
        f"{name} {processes} processes, TTL {ttl} s: fetches in each TTL {fetches}, answers {dict(answers)}", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
