"""Header values with and without acceptable tokens, and the reason to reject each.

A case has a name, the value of the header, and the reason to reject it, or ``None`` if it is accepted. Cases are signed
when they are generated: their tokens name the issuer, and live for five minutes.
"""

import json
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from package_tests.support.issuer import Issuer
from package_tests.support.signing import ALGORITHMS, Key, b64, encode, unb64


class Case(NamedTuple):
    name: str
    header: str | None
    reason: str | None


NUMBERS = {
    "a string": "1",
    "true": True,
    "false": False,
    "null": None,
    "a list": [],
    "an object": {},
    "a huge integer": 2**53,
}
NUMBERS |= {"minus huge": -(2**53), "ten to the 300": 1e300, "a very long integer": 10**400}
NOT_STRINGS = {"a number": 7, "true": True, "null": None, "a list": ["x"], "an object": {"x": 1}, "a float": 1.5}
ODD = {"": "empty", " ": "a space", "\n": "a line break", "\0": "a null", "é": "an accent", "x" * 3000: "long"}


def cases(issuer: Issuer) -> Iterator[Case]:
    for make in (headers, forms, algorithms, header_members, issuers, keys, signatures, dates, audiences, others):
        for name, header, reason in make(issuer):
            yield Case(f"{make.__name__}: {name}", header, reason)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def headers(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    good = issuer.token()
    yield "none", None, "no_token"
    for value in (
        "",
        " ",
        "Bearer",
        "bearer",
        "Bearer ",
        "Bearer\t",
        "Basic dXNlcjpwYXNz",
        "Token x",
        "DPoP " + good,
        good,
    ):
        yield f"no bearer token in {value[:12]!r}", value, "no_token"
    for value in (
        'Digest username="a", realm="b"',
        "Basic a, Basic b",
        "Bearertoken",
        f"BearerX {good}",
        f"Bearer:{good}",
    ):
        yield f"another scheme in {value[:12]!r}", value, "no_token"
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        yield f"the scheme as {scheme}", f"{scheme} {good}", None
    yield "spaces around", f" \t Bearer {good} \t ", None
    for between in ("  ", "   ", " " * 40):
        yield f"{len(between)} spaces between", f"Bearer{between}{good}", None
    for between in (" \t", " \t ", "  \t"):
        yield f"{between!r} between", f"Bearer{between}{good}", "malformed"
    yield "a tab between", f"Bearer\t{good}", "no_token"
    yield "the scheme twice", f"Bearer Bearer {good}", "several_tokens"
    for value in ("{} {}", "{},Bearer {}", "{}, {}", "{},", "{} x", "a b c"):
        yield f"several in {value!r}", bearer(value.replace("{}", good)), "several_tokens"
    yield "another scheme first", f"Basic x,Bearer {good}", "several_tokens"
    yield "another scheme last", f"Bearer {good},Basic x", "several_tokens"
    yield "quotes", f'Bearer "{good}"', "malformed"
    yield "angle brackets", f"Bearer <{good}>", "malformed"
    yield "a parameter", f"Bearer token={good}", "malformed"
    yield "a semicolon", f"Bearer {good};", "malformed"
    yield "padding", f"Bearer {good}=", "malformed"
    yield "a null", f"Bearer {good}\0", "malformed"
    yield "8193 characters", bearer("a" * 8193), "too_large"
    yield "8192 characters", bearer("a" * 8192), "malformed"
    yield "a megabyte", bearer("a" * 1_000_000), "too_large"
    yield "a megabyte of another scheme", "Basic " + "a" * 1_000_000, "too_large"
    for byte in (0x7F, 0x80, 0xA0, 0xE9, 0xFF):
        yield f"byte {byte:#x}", bearer(good + chr(byte)), "malformed"
    size = 6000
    yield "a large one", bearer(issuer.token(padding="x" * 4000)), None
    over = issuer.token(padding="x" * size)
    yield "one that is too large", bearer(over), "too_large"


def forms(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    key, claims = issuer.key("ES256"), issuer.claims()
    good = key.token(claims)
    head, body, signature = good.split(".")
    texts = {
        "one segment": head,
        "two segments": f"{head}.{body}",
        "four segments": f"{good}.x",
        "five segments": f"{good}.x.y",
        "dots": "..",
        "a dot before": f".{good}",
        "a dot behind": f"{good}.",
        "no header": f".{body}.{signature}",
        "no payload": f"{head}..{signature}",
        "a letter": "x",
        "no JWT": "hello",
        "a path": "../../etc/passwd",
    }
    for name, text in texts.items():
        yield name, bearer(text), "malformed"
    yield "no signature", bearer(f"{head}.{body}."), "bad_signature"
    for name, place in (("header", 0), ("payload", 1), ("signature", 2)):
        for what, change in SPELLINGS.items():
            segments = good.split(".")
            segments[place] = change(segments[place])
            yield f"{name} {what}", bearer(".".join(segments)), "malformed"
    for name, raw in BROKEN_JSON.items():
        yield f"header is {name}", bearer(f"{b64(raw)}.{body}.{signature}"), "malformed"
        yield f"payload is {name}", bearer(key.token(raw)), "malformed"
    alg = json.dumps({"alg": "ES256", "kid": key.kid})
    for name, raw in {"alg": '"alg": "ES256"', "kid": '"kid": "x"', "another": '"x": 1, "x": 2'}.items():
        twice = b64(f"{alg[:-1]}, {raw}}}".encode())
        yield (
            f"header names {name} twice",
            bearer(f"{twice}.{body}.{b64(key.sign(f'{twice}.{body}'.encode()))}"),
            "malformed",
        )
    text = json.dumps(claims)
    for name in ("iss", "exp", "sub"):
        again = f'{text[:-1]}, "{name}": {json.dumps(claims[name])}}}'
        yield f"payload names {name} twice", bearer(key.token(again.encode())), "malformed"
    yield (
        "a nested object names a member twice",
        bearer(key.token(f'{text[:-1]}, "x": {{"a": 1, "a": 1}}}}'.encode())),
        "malformed",
    )
    yield "a name twice, once escaped", bearer(key.token(f'{text[:-1]}, "\\u0073ub": "x"}}'.encode())), "malformed"
    yield "white space in the JSON", bearer(key.token(json.dumps(claims, indent=4).encode())), None
    yield "escapes in the JSON", bearer(key.token(text.replace("user-1", "\\u0075ser-1").encode())), None
    yield "beyond the BMP", bearer(key.token(claims | {"name": "\U0001f600"})), None
    yield "raw UTF-8", bearer(key.token(json.dumps(claims | {"name": "Zoë"}, ensure_ascii=False).encode())), None
    for escape in ("\\ud800", "\\udfff", "\\ud800\\ud800", "\\udc00\\ud800"):
        yield f"a lone surrogate {escape}", bearer(key.token(f'{text[:-1]}, "x": "{escape}"}}'.encode())), "malformed"
        yield f"one in a name {escape}", bearer(key.token(f'{text[:-1]}, "{escape}": 1}}'.encode())), "malformed"
    for depth, reason in ((99, None), (100, "malformed"), (1000, "malformed"), (2900, "malformed")):
        raw = f'{text[:-1]}, "x": {"[" * depth}{"]" * depth}}}'.encode()
        yield f"{depth} levels", bearer(key.token(raw)), reason
    wide = f'{text[:-1]}, "x": [{",".join(["{}"] * 500)}]}}'.encode()
    yield "many objects side by side", bearer(key.token(wide)), None


SPELLINGS = {
    "padded": lambda text: text + "=",
    "padded twice": lambda text: text + "==",
    "with a space": lambda text: text[:4] + "\u00a0" + text[4:],
    "with a plus": lambda text: "+" + text[1:],
    "with a slash": lambda text: "/" + text[1:],
    "with a tilde": lambda text: text + "~",
    "with junk": lambda text: text[:4] + "!" + text[4:],
    "with a star": lambda text: text[:8] + "*" + text[8:],
    "of an impossible length": lambda text: text + "A" * (1 + (-len(text)) % 4),
}

BROKEN_JSON = {
    "empty": b"",
    "no object": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "cut": b'{"alg":',
    "followed by more": b'{"a":1}{}',
    "with a comma too many": b'{"a":1,}',
    "in single quotes": b"{'a':1}",
    "with NaN": b'{"a":NaN}',
    "with Infinity": b'{"a":Infinity}',
    "with -Infinity": b'{"a":-Infinity}',
    "not UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "behind a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "with a control character": b'{"a":"\n"}',
    "with a comment": b'{"a":1/*x*/}',
    "with hexadecimal": b'{"a":0x1}',
    "with a leading zero": b'{"a":01}',
    "with a plus sign": b'{"a":+1}',
    "with a number of 5000 digits": b'{"a":' + b"9" * 5000 + b"}",
}


def resigned(key: Key, claims: Any, header: dict[str, Any]) -> str:
    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


def algorithms(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    claims, key = issuer.claims(), issuer.key("RS256")
    for name in ALGORITHMS:
        yield name, bearer(issuer.token(name)), None
    yield "Ed25519", bearer(issuer.token(header={"alg": "Ed25519"})), None
    unknown = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        " ",
        "HS256",
        "HS384",
        "HS512",
        "rs256",
        "RS257",
        "ES256K",
        "RSA1_5",
        "A128KW",
    ]
    for name in [*unknown, "Ed448", "eddsa", "RS256 ", "RS256\0", "RSA-OAEP", "dir", "EdDSA,RS256", "x" * 2000]:
        yield (
            f"alg {name[:20]!r}",
            bearer(resigned(key, claims, {"alg": name, "kid": key.kid})),
            "algorithm_not_allowed",
        )
    for what, value in NOT_STRINGS.items():
        yield f"alg is {what}", bearer(resigned(key, claims, {"alg": value, "kid": key.kid})), "algorithm_not_allowed"
    yield "alg is missing", bearer(resigned(key, claims, {"kid": key.kid})), "algorithm_not_allowed"
    yield "no signature at all", bearer(f"{encode({'alg': 'none'})}.{encode(claims)}."), "algorithm_not_allowed"
    public = json.dumps(key.jwk()).encode()
    import hashlib
    import hmac

    signed = f"{encode({'alg': 'HS256', 'kid': key.kid})}.{encode(claims)}"
    forged = b64(hmac.new(public, signed.encode(), hashlib.sha256).digest())
    yield "the public key as a secret", bearer(f"{signed}.{forged}"), "algorithm_not_allowed"
    for name in ALGORITHMS:
        for other in ("RS256", "ES256", "EdDSA", "PS256"):
            if name != other:
                confused = resigned(issuer.key(name), claims, {"alg": other, "kid": f"k-{name}"})
                yield f"the key of {name} for {other}", bearer(confused), "unknown_key"


def header_members(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    for value in ([], ["exp"], ["b64"], "exp", None, 1, {}, True, ["x", "x"]):
        yield f"crit {value!r}", bearer(critical(issuer, value)), "critical_header"
    for value in ("JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt", None):
        yield f"typ {value!r}", bearer(issuer.token(header={"typ": value})), None
    for value in (
        "",
        "JWS",
        "JOSE",
        "id+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "application/jwt",
        "at+jwt ",
        "JWT\0",
    ):
        yield f"typ {value!r}", bearer(issuer.token(header={"typ": value})), "wrong_type"
    key = issuer.key("EdDSA")
    for what, value in NOT_STRINGS.items():
        header = {"alg": "EdDSA", "kid": key.kid, "typ": value}
        yield f"typ is {what}", bearer(resigned(key, issuer.claims(), header)), "wrong_type"
    for name, value in {
        "cty": "JWT",
        "x": 1,
        "zip": "DEF",
        "b64": False,
        "x5t": "x",
        "jku": "https://evil.example",
    }.items():
        yield f"{name} is ignored", bearer(issuer.token(header={name: value})), None


def critical(issuer: Issuer, value: Any) -> str:
    key = issuer.key("EdDSA")
    return resigned(key, issuer.claims(), {"alg": "EdDSA", "kid": key.kid, "typ": "JWT", "crit": value})


def issuers(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    name = issuer.name
    others = [
        name + "/",
        name.upper(),
        name[:-1],
        "",
        " ",
        name + " ",
        name.replace("127.0.0.1", "localhost"),
        "https://evil.example",
    ]
    for other in [*others, name + "\0", name + "#", name.replace("http:", "https:"), f"{name},{name}", "x" * 3000]:
        shown = other.replace(str(issuer.server.server_port), "8000")[:60]  # the same name in each process
        yield f"iss {shown!r}", bearer(issuer.token(iss=other)), "unknown_issuer"
    for what, value in NOT_STRINGS.items():
        claims = issuer.claims() | {"iss": value}
        yield f"iss is {what}", bearer(issuer.key("EdDSA").token(claims)), "unknown_issuer"
    yield "iss is a list with the right one", bearer(issuer.token(iss=[name])), "unknown_issuer"
    yield "iss is missing", bearer(issuer.token(iss=None)), "unknown_issuer"


def keys(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    key, claims = issuer.key("EdDSA"), issuer.claims()
    for what, value in NOT_STRINGS.items():
        yield f"kid is {what}", bearer(resigned(key, claims, {"alg": "EdDSA", "kid": value})), "malformed"
    for value, what in ODD.items():
        yield f"kid is {what}", bearer(resigned(key, claims, {"alg": "EdDSA", "kid": value})), "unknown_key"
    for value in ("k-EdDSA ", "K-EDDSA", "k-EdDS", "../k-EdDSA", "k-EdDSA\0", "' OR 1=1", "k-RS256"):
        yield f"kid {value!r}", bearer(resigned(key, claims, {"alg": "EdDSA", "kid": value})), "unknown_key"
    yield "no kid, and one key fits", bearer(resigned(key, claims, {"alg": "EdDSA"})), None
    attacker = Key("EdDSA", "k-EdDSA")
    yield (
        "an attacker's key in jwk",
        bearer(resigned(attacker, claims, {"alg": "EdDSA", "jwk": attacker.jwk()})),
        "bad_signature",
    )
    for name in ("jku", "x5u"):
        header = {"alg": "EdDSA", "kid": "k-EdDSA", name: "https://evil.example/jwks.json"}
        yield f"an attacker's {name}", bearer(resigned(attacker, claims, header)), "bad_signature"
    yield "an attacker's x5c", bearer(resigned(attacker, claims, {"alg": "EdDSA", "x5c": ["x"]})), "bad_signature"


def signatures(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    for name in ALGORITHMS:
        good = issuer.token(name)
        head, body, signature = good.split(".")
        raw = unb64(signature)
        changed = {
            "of an attacker": unb64(Key(name, f"k-{name}", fresh=True).token(issuer.claims()).split(".")[2]),
            "with a bit flipped": bytes([raw[0] ^ 1]) + raw[1:],
            "with the last bit flipped": raw[:-1] + bytes([raw[-1] ^ 1]),
            "cut": raw[:-1],
            "with a byte more": raw + b"\0",
            "behind a byte": b"\0" + raw,
            "of zeros": bytes(len(raw)),
            "of ones": b"\xff" * len(raw),
            "empty": b"",
            "reversed": raw[::-1],
        }
        for what, other in changed.items():
            yield f"{name} {what}", bearer(f"{head}.{body}.{b64(other)}"), "bad_signature"
        swapped = encode(issuer.claims(sub="another-user"))
        yield f"{name} over other claims", bearer(f"{head}.{swapped}.{signature}"), "bad_signature"
    key = issuer.key("ES256")
    signed = f"{encode({'alg': 'ES256', 'kid': key.kid})}.{encode(issuer.claims())}"
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    yield (
        "ES256 in DER",
        bearer(f"{signed}.{b64(key.private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))}"),
        "bad_signature",
    )
    expired = Key("EdDSA", "k-EdDSA").token(issuer.claims(exp=1, aud="x", iat=2**40))
    yield "a forged token that has expired", bearer(expired), "bad_signature"


def dates(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    now, key = int(time.time()), issuer.key("ES256")

    def token(**claims: Any) -> str:
        return bearer(key.token({"iss": issuer.name, "aud": "orders-api", "exp": now + 300} | claims))

    yield "exp alone", token(), None
    yield "exp is missing", bearer(issuer.token(exp=None)), "missing_claim"
    for name in ("exp", "nbf", "iat"):
        for what, value in NUMBERS.items():
            yield f"{name} is {what}", token(**{name: value}), "invalid_claim"
        for literal in ("1e999", "-1e999", "1e309", "9007199254740992", "9" * 400):
            text = json.dumps({"iss": issuer.name, "aud": "orders-api", "exp": now + 300} | {name: "X"})
            raw = text.replace('"X"', literal)
            yield f"{name} is {literal[:20]}", bearer(key.token(raw.encode())), "invalid_claim"
    for ago in (40, 3600, 10**9):  # to the second it is tested with a clock: see test_verifier
        yield f"exp {ago} s ago", token(exp=now - ago), "expired"
    yield "exp as a float", token(exp=now + 300.5), None
    yield "exp in the year 2100", token(exp=4102444800), None
    yield "exp zero", token(exp=0), "expired"
    yield "exp negative", token(exp=-1), "expired"
    for name, reason in (("nbf", "not_yet_valid"), ("iat", "issued_in_future")):
        for ahead in (-(10**9), -3600, 0):
            yield f"{name} in {ahead} s", token(**{name: now + ahead}), None
        for ahead in (3600, 86_400, 31_536_000):
            yield f"{name} in {ahead} s", token(**{name: now + ahead}), reason
        yield f"{name} zero", token(**{name: 0}), None
    yield "expired and not yet valid", token(exp=now - 99, nbf=now + 99), "expired"


def audiences(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    for value in (
        "orders-api",
        "https://api.test/",
        "https://api.test/orders?x=1",
        ["orders-api"],
        ["x", "https://api.test/y"],
    ):
        yield f"aud {value!r}", bearer(issuer.token(aud=value)), None
    wrong = [
        "",
        "x",
        "orders",
        "orders-api2",
        "ORDERS-API",
        " orders-api",
        "https://api.test",
        "https://api.test.evil/",
        "*",
    ]
    wrong += [
        "https://api.test@evil/",
        "http://api.test/",
        "https://evil/https://api.test/",
        "https://api.test:8443/",
        "https://api.testx/",
    ]
    for one in [*wrong, "https://API.test/", "https://api.test\\@evil/", "https://*"]:
        yield f"aud {one!r}", bearer(issuer.token(aud=one)), "wrong_audience"
    for several in ([], ["x"], ["x", "y"]):
        yield f"aud {several!r}", bearer(issuer.token(aud=several)), "wrong_audience"
    for several in (["orders-api", 1], [None], [["orders-api"]], [{}], [True, "orders-api"]):
        yield f"aud {several!r}", bearer(issuer.token(aud=several)), "invalid_claim"
    for what, value in NOT_STRINGS.items():
        if what != "a list":
            yield f"aud is {what}", bearer(issuer.key("EdDSA").token(issuer.claims() | {"aud": value})), "invalid_claim"
    yield "aud is missing", bearer(issuer.token(aud=None)), "missing_claim"


def others(issuer: Issuer) -> Iterator[tuple[str, str | None, str | None]]:
    key = issuer.key("EdDSA")
    for name in ("sub", "jti"):
        for what, value in NOT_STRINGS.items():
            yield f"{name} is {what}", bearer(key.token(issuer.claims() | {name: value})), "invalid_claim"
        for value, what in ODD.items():
            yield f"{name} is {what}", bearer(key.token(issuer.claims() | {name: value})), None
        yield f"{name} is missing", bearer(issuer.token(**{name: None})), None
    for value in ({"jkt": "x"}, {"x5t#S256": "x"}, {}, None, "x", []):
        yield f"cnf {value!r}", bearer(key.token(issuer.claims() | {"cnf": value})), "sender_constrained"
    for name, value in {
        "at_hash": "x",
        "nonce": 1,
        "azp": [],
        "act": {"sub": "x"},
        "events": {},
        "nested": [[{"a": [1.5]}]],
        "wide": [[{}] for _ in range(80)],
    }.items():
        yield f"{name} is handed on", bearer(issuer.token(**{name: value})), None
    for literal in ("1e999", "-1e400"):
        raw = json.dumps(issuer.claims() | {"n": [["X"]]}).replace('"X"', literal)
        yield f"a number that no float holds: {literal}", bearer(key.token(raw.encode())), "invalid_claim"
    assert math.isinf(float("1e999"))
