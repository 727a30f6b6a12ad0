"""Mutated requests over real sockets: ``python -m benchmarks.raw_mutations [--seconds N] [--seed N]``

Starts the production server and sends it requests with bytes changed, removed, repeated and inserted, whole or in
pieces. Exits with 1, and prints the request, if a response is a 500, if a guarded route accepts a request that does not
contain the token, if the server logs an unhandled exception, loses a worker, grows by more than 64 MiB, or does not
respond to a health check within 20 seconds.
"""

import argparse
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from package_tests.support.controllers import ECHO, Controller, serving
from package_tests.support.servers import Server

from .processes import family, resident_mib

PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"%2f",
    b"%00",
    b"..",
    b"/",
    b"?",
    b"\xff",
    b"\x80",
    b"0",
    b"-1",
    b"99999999999999999999",
    b"\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"Authorization: Bearer x\r\n",
    b"Host: y\r\n",
    b"a" * 5000,
    b'{"a":',
    b"[" * 200,
    b"--xyz\r\n",
    b"\xc3\xa9",
]
LARGEST_GROWTH = 64
FIELDS = Controller(ECHO.name, ECHO.source.replace("request.all()", '{"fields": str(request.all())}'), ECHO.routes)


def requests(token: str) -> list[bytes]:
    head = b"Host: x\r\nAuthorization: Bearer %s\r\n" % token.encode()
    form = b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n--xyz--\r\n'
    bodies = [
        (b"application/json", b"Content-Length: 7", b'{"a":1}'),
        (b"application/json", b"Transfer-Encoding: chunked", b'7\r\n{"a":1}\r\n0\r\n\r\n'),
        (b"application/x-www-form-urlencoded", b"Content-Length: 3", b"a=b"),
        (b"multipart/form-data; boundary=xyz", b"Content-Length: %d" % len(form), form),
    ]
    posts = [
        b"POST %s HTTP/1.1\r\n%sContent-Type: %s\r\n%s\r\n\r\n%s" % (path, head, *body)
        for path in (b"/echo", b"/open")
        for body in bodies
    ]
    return [
        *posts,
        b"GET /protected HTTP/1.1\r\n" + head + b"\r\n",
        b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer e30.e30.AA\r\n\r\n",
        b"GET /openapi.json?a[b]=c&d=%20 HTTP/1.1\r\nHost: x\r\nCookie: a=b; c=d\r\n\r\n" * 3,
    ]


def mutated(request: bytes, chance: random.Random) -> bytes:
    changed = bytearray(request)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randrange(1, 20)]
            case 2:
                changed[at:at] = chance.choice(PIECES)
            case 3:
                changed[at:at] = changed[at : at + chance.randrange(1, 60)]
            case 4:
                changed[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
    return bytes(changed)


def exchange(port: int, data: bytes, chance: random.Random) -> bytes:
    """Send `data`, whole or in two pieces, and return what arrives until the server closes, or within 50 ms."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            at = chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data)
            connection.sendall(data[:at])
            if at < len(data):
                time.sleep(0.002)
                connection.sendall(data[at:])
            if chance.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.05)
            while chunk := connection.recv(65536):
                received += chunk
    except OSError:
        pass
    return received


def problem_with(response: bytes, data: bytes, token: str) -> str | None:
    for line in response.split(b"\r\n"):
        if line.startswith(b"HTTP/1.") and line[9:12] in (b"500", b"502", b"504"):
            return f"the response is {line.decode('latin-1')}"
    if b"Access granted" in response and token.encode() not in data:
        return "a request without the token was accepted"
    return None


def problem_of(server: Server, before: float) -> str | None:
    began = time.monotonic()
    status = server.get("/health/live")[0]
    if status != 200 or time.monotonic() - began > 20:
        return f"a health check returned {status} after {time.monotonic() - began:.0f} s"
    for sign in ("Traceback", "unhandled_exception", "worker_died", "panicked"):
        if sign in server.output():
            return f"the log has {sign}"
    grown = memory(server) - before
    return f"the processes grew by {grown:.0f} MiB" if grown > LARGEST_GROWTH else None


def memory(server: Server) -> float:
    return sum(map(resident_mib, family(server.process.pid)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    statuses: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(FIELDS, Path(folder), WEB_CONCURRENCY="1", BODY_TIMEOUT="2") as (server, _, issuer),
    ):
        token = issuer.token(exp=int(time.time()) + 7200)
        seeds = requests(token)
        for request in seeds:
            exchange(server.port, request, chance)
        before, end, sent, found = memory(server), time.monotonic() + options.seconds, 0, None
        data = b""
        while found is None and time.monotonic() < end:
            data = mutated(chance.choice(seeds), chance)
            response = exchange(server.port, data, chance)
            statuses[response[9:12].decode("latin-1") if response.startswith(b"HTTP/1.") else "none"] += 1
            found, sent = problem_with(response, data, token), sent + 1
            if found is None and sent % 500 == 0:
                found = problem_of(server, before)
        found = found or problem_of(server, before)
        print(
            f"seed {options.seed}: {sent} requests, {dict(statuses.most_common())}, {memory(server) - before:+.1f} MiB"
        )
    if found is not None:
        print(f"FAILED: {found}; the last request was {data!r}")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
