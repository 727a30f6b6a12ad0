"""The fetches that many workers cause at an issuer: ``python -m benchmarks.fleet [--processes N] [--ttl N]``

Runs a production server with 64 workers that share a Redis server, for three times the TTL, then without a store. A
client sends valid tokens all the time. Prints the fetches at the issuer in each TTL, and the responses by status. Then
the issuer stops: a new server uses the stored key set. An attacker's key set replaces the stored one: another new
server rejects it.

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
            print(f"without the issuer, a new server responds with {server.get('/protected', bearer)[0]}")
        for name in redis.client.keys("*-keys"):
            redis.client.set(name, json.dumps({"keys": [Key("EdDSA", "attacker").jwk()]}))
        with production(free_port(), Path(folder) / "poisoned", **settings) as server:
            status = server.get("/protected", bearer)[0]
            logged = "jwks_store_entry_rejected" in server.output()
            print(f"with a forged key set in the store, a new server responds with {status}, and logs it: {logged}")
    return 0


def run(name: str, issuer: Issuer, settings: dict[str, str], processes: int, ttl: int, folder: Path) -> None:
    issuer.requests.clear()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "JWKS_TTL": str(ttl)} | settings
    settings |= {"WEB_CONCURRENCY": str(processes), "WEB_THREADS": "2"}
    responses: Counter[int] = Counter()
    ended = threading.Event()
    with production(free_port(), folder / f"log-{name}", **settings) as server:
        bearer = {"Authorization": f"Bearer {issuer.token(exp=2**40)}"}

        def send_requests() -> None:
            while not ended.wait(0.02):
                responses[server.get("/protected", bearer)[0]] += 1

        client = threading.Thread(target=send_requests)
        client.start()
        fetches, before = [], 0
        for _ in range(TTLS):
            time.sleep(ttl)
            fetches.append(len(issuer.requests) - before)
            before = len(issuer.requests)
        ended.set()
        client.join()
    print(
        f"{name} {processes} processes, TTL {ttl} s: fetches in each TTL {fetches}, responses {dict(responses)}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
