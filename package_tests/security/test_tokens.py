"""Forged and malleated signatures, odd keys, and scopes that only look alike, sent to the production server."""

import json
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from package_tests.support.controllers import wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.servers import free_port, production
from package_tests.support.signing import ALGORITHMS, HASHES, Key, b64, encode, number, unb64

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
    "ES512": int("1" + "F" * 65 + "A51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409", 16),
}
RSA = [name for name in ALGORITHMS if name[0] in "RP"]


def unsigned(issuer, algorithm, **claims):
    return f"{encode({'alg': algorithm, 'typ': 'JWT', 'kid': f'k-{algorithm}'})}.{encode(issuer.claims(**claims))}"


def send(server, token, path="/protected"):
    status, _, body = server.get(path, {"Authorization": f"Bearer {token}"})
    return status, json.loads(body)


def assert_rejected(server, signed, signature):
    assert send(server, f"{signed}.{b64(signature)}") in (
        (401, {"error": "Invalid token", "details": "The token's signature is not valid"}),
        (401, {"error": "Invalid token", "details": "The token is malformed"}),
    )


def raw_rsa(key, message):
    """Return `message` to the private exponent: a signature without any padding of the library's own."""
    numbers = key.private.private_numbers()
    modulus = numbers.public_numbers.n
    return pow(int.from_bytes(message, "big"), numbers.d, modulus).to_bytes(256, "big")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signature_of_another_length_or_place_is_rejected(server, issuer, algorithm):
    key, signed = issuer.key(algorithm), unsigned(issuer, algorithm)
    good = key.sign(signed.encode())
    assert send(server, f"{signed}.{b64(good)}")[0] == 200
    middle = len(good) // 2
    other = key.sign(unsigned(issuer, algorithm, jti="other").encode())
    for changed in (
        good[1:],
        good[:-1],
        b"\0" + good,
        good + b"\0",
        good * 2,
        good[middle:] + good[:middle],
        good[:middle] + other[middle:],
        b"\0" * len(good),
        b"\xff" * len(good),
        bytes(len(good) - 1) + b"\x01",
        other,
        b"",
    ):
        assert_rejected(server, signed, changed)


@pytest.mark.parametrize("algorithm", RSA)
def test_rsa_signature_outside_its_range_or_negated_is_rejected(server, issuer, algorithm):
    key, signed = issuer.key(algorithm), unsigned(issuer, algorithm)
    modulus = key.private.public_key().public_numbers().n
    signature = int.from_bytes(key.sign(signed.encode()), "big")
    for changed in (signature + modulus, modulus - signature, modulus, modulus + 1, 0, 1, modulus - 1):
        assert_rejected(server, signed, changed.to_bytes(256 if changed < 2**2048 else 257, "big"))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES512"])
def test_signature_without_its_leading_zero_is_rejected(server, issuer, algorithm):
    key = issuer.key(algorithm)
    for attempt in range(20_000):
        signed = unsigned(issuer, algorithm, jti=str(attempt))
        good = key.sign(signed.encode())
        if good[0] == 0:
            break
    assert send(server, f"{signed}.{b64(good)}")[0] == 200
    assert_rejected(server, signed, good[1:])


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
def test_pss_signature_with_another_salt_or_hash_is_rejected(server, issuer, algorithm):
    key, signed, own = issuer.key(algorithm), unsigned(issuer, algorithm), HASHES[algorithm[2:]]
    data = signed.encode()
    salts = [0, 1, own.digest_size - 1, own.digest_size + 1, padding.PSS.MAX_LENGTH]
    for salt in salts:
        assert_rejected(server, signed, key.private.sign(data, padding.PSS(padding.MGF1(own), salt), own))
    for other in (hashes.SHA3_256(), hashes.SHA224(), *(each for each in HASHES.values() if each.name != own.name)):
        masked = padding.PSS(padding.MGF1(other), own.digest_size)
        assert_rejected(server, signed, key.private.sign(data, masked, own))
        hashed = padding.PSS(padding.MGF1(own), own.digest_size)
        assert_rejected(server, signed, key.private.sign(data, hashed, other))
    assert_rejected(server, signed, key.private.sign(data, padding.PKCS1v15(), own))


PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
"""The DigestInfo of SHA-256 (RFC 8017, section 9.2)."""
PREFIXES = {
    "without parameters": bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20",
    "with a BER length": bytes.fromhex("308131300d060960864801650304020105000420"),
    "with two BER lengths": bytes.fromhex("30813230810d060960864801650304020105000420"),
    "with other parameters": bytes.fromhex("3033300f0609608648016503040201050204000420"),
    "of SHA-1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "of SHA-512": bytes.fromhex("3051300d060960864801650304020305000440"),
    "of nothing": b"",
}


@pytest.mark.parametrize("name", PREFIXES)
def test_pkcs1_signature_with_another_digest_info_is_rejected(server, issuer, name):
    key, signed = issuer.key("RS256"), unsigned(issuer, "RS256")
    digest = sha256(signed)
    prefix = PREFIXES[name]
    assert_rejected(server, signed, raw_rsa(key, padded(prefix + digest)))


@pytest.mark.parametrize("block", ["00", "02", "ff"])
def test_pkcs1_signature_with_another_padding_is_rejected(server, issuer, block):
    key, signed = issuer.key("RS256"), unsigned(issuer, "RS256")
    digest = sha256(signed)
    good = padded(PREFIX + digest)
    assert send(server, f"{signed}.{b64(raw_rsa(key, good))}")[0] == 200
    forged = [
        good[:1] + bytes.fromhex(block) + good[2:],
        good[:2] + bytes([int(block, 16) ^ 1]) + good[3:],
        b"\x00\x01" + b"\xff" * 8 + b"\x00" + PREFIX + digest + bytes(256 - 11 - len(PREFIX) - 32),
        b"\x00\x01" + b"\xff" * 201 + b"\x00" + PREFIX + digest + b"\x00",
        b"\x00\x01\x00" + PREFIX + digest + b"\xff" * (253 - len(PREFIX) - 32),
    ]
    for message in forged:
        assert_rejected(server, signed, raw_rsa(key, message[:256].ljust(256, b"\0")))


def padded(info):
    return b"\x00\x01" + b"\xff" * (253 - len(info)) + b"\x00" + info


def sha256(signed):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(signed.encode())
    return digest.finalize()


@pytest.mark.parametrize("algorithm", list(ORDERS))
def test_ecdsa_signature_outside_its_range_or_encoding_is_rejected(server, issuer, algorithm):
    key, signed, order = issuer.key(algorithm), unsigned(issuer, algorithm), ORDERS[algorithm]
    good = key.sign(signed.encode())
    size = len(good) // 2
    r, s = (int.from_bytes(part, "big") for part in (good[:size], good[size:]))

    def raw(first, second):
        return first.to_bytes(size, "big") + second.to_bytes(size, "big")

    # the second of the two signatures that ECDSA itself accepts: RFC 7518 does not forbid it
    assert send(server, f"{signed}.{b64(raw(r, order - s))}")[0] == 200
    out_of_range = [(0, s), (r, 0), (0, 0), (order, s), (r, order), (1, 1), (s, r), (order - r, s)]
    out_of_range += [(r + order, s), (r, s + order)]
    for first, second in out_of_range:
        if max(first, second) < 256**size:
            assert_rejected(server, signed, raw(first, second))
    for encoded in (
        utils.encode_dss_signature(r, s),
        r.to_bytes(size + 1, "big") + s.to_bytes(size + 1, "big"),
        s.to_bytes(size, "little") + r.to_bytes(size, "little"),
    ):
        assert_rejected(server, signed, encoded)
    assert_rejected(server, signed, key.private.sign(signed.encode(), ec.ECDSA(hashes.SHA3_256())))


def test_ed25519_signature_with_another_scalar_or_point_is_rejected(server, issuer):
    key, signed = issuer.key("EdDSA"), unsigned(issuer, "EdDSA")
    good = key.sign(signed.encode())
    point, scalar = good[:32], int.from_bytes(good[32:], "little")
    assert send(server, f"{signed}.{b64(good)}")[0] == 200
    for multiple in range(1, 8):
        if scalar + multiple * ED25519_ORDER < 2**256:
            assert_rejected(server, signed, point + (scalar + multiple * ED25519_ORDER).to_bytes(32, "little"))
    assert_rejected(server, signed, point + (ED25519_ORDER - scalar).to_bytes(32, "little"))
    for small in (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", bytes(31) + b"\x80"):
        assert_rejected(server, signed, small + bytes(32))
        assert_rejected(server, signed, small + good[32:])
    assert_rejected(server, signed, point[:31] + bytes([point[31] ^ 0x80]) + good[32:])


def test_token_with_another_algorithm_for_its_key_is_rejected(server, issuer):
    for algorithm in ALGORITHMS:
        for other in ("none", "HS256", "RS256", "PS256", "ES256", "EdDSA", "Ed448", algorithm.lower()):
            if other != algorithm and (algorithm, other) != ("EdDSA", "Ed25519"):
                header = {"alg": other, "kid": f"k-{algorithm}"}
                signed = f"{encode(header)}.{encode(issuer.claims())}"
                signature = issuer.key(algorithm).sign(signed.encode())
                assert send(server, f"{signed}.{b64(signature)}")[0] == 401
                assert send(server, f"{signed}.")[0] == 401


# -- scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scope",
    [
        "read\uff1aorders",
        "read\u02d0orders",
        "re\u0430d:orders",
        "READ:ORDERS",
        "read:orders\u200b",
        "\ufeffread:orders",
        "x\u00a0read:orders",
        "x\u2003read:orders",
        "x\tread:orders",
        "x\nread:orders",
        "x\x0bread:orders",
        "x\x1cread:orders",
        "x,read:orders",
        "x;read:orders",
        '"read:orders"',
        "read:orders:all",
        "read:order",
        "read:*",
        "*",
        "re\u0301ad:orders",
        "read%3Aorders",
        "read:orders\x00",
        ["x read:orders"],
        [["read:orders"]],
        {"read:orders": True},
        ["READ:orders"],
        True,
        7,
        None,
    ],
)
def test_scope_that_looks_alike_is_403(server, issuer, scope):
    assert send(server, issuer.token(scope=scope), "/scoped")[0] == 403


@pytest.mark.parametrize("scope", ["read:orders", "a read:orders b", ["read:orders"], "a  read:orders"])
def test_scope_itself_is_accepted(server, issuer, scope):
    assert send(server, issuer.token(scope=scope), "/scoped")[0] == 200


# -- key sets ---------------------------------------------------------------------------------------------------------


def odd_keys(good):
    """Return JWKs that no token may be verified with, each under the key id `odd-<number>`."""
    rsa, point, okp = Key("RS256", "x").jwk(), Key("ES256", "x").jwk(), Key("EdDSA", "x").jwk()
    modulus = int.from_bytes(unb64(rsa["n"]), "big")
    found = [rsa | {"n": number(modulus ^ 1)}, rsa | {"n": number(modulus << 1)}]
    found += [rsa | {"e": number(e)} for e in (0, 1, 2, 65536)]
    found += [rsa | {"e": number(2**3000 + 1)}, rsa | {"n": number(2**1024 + 1)}, rsa | {"n": b64(b"\0" * 256)}]
    found += [rsa | {"n": number((1 << 20_000) + 1)}, rsa | {"n": ""}, rsa | {"n": None}, rsa | {"n": 7}]
    found += [rsa | {"n": "!" * 342}, rsa | {"d": rsa["n"]}, rsa | {"kty": "rsa"}, rsa | {"use": "enc"}]
    found += [point | {"x": point["y"]}, point | {"x": b64(bytes(32)), "y": b64(bytes(32))}, point | {"crv": "P-384"}]
    found += [point | {"crv": "secp256k1"}, point | {"x": b64(b"\xff" * 32)}, point | {"y": None}]
    found += [okp | {"x": b64(bytes(32))}, okp | {"x": b64(b"\x01" + bytes(31))}, okp | {"x": b64(b"\xff" * 32)}]
    found += [okp | {"x": okp["x"][:-2]}, okp | {"crv": "Ed448"}, okp | {"crv": "X25519"}, okp | {"d": okp["x"]}]
    found += [{"kty": "oct", "k": "AAAA"}, {"kty": "oct", "k": rsa["n"], "alg": "RS256"}, {}, {"kty": {}}]
    keys = [{n: v for n, v in jwk.items() if v is not None} | {"kid": f"odd-{at}"} for at, jwk in enumerate(found)]
    return [*keys, None, 7, "key", [], good]


def test_odd_keys_spoil_neither_the_set_nor_the_server(tmp_path):
    junk = Issuer([Key("EdDSA", "good")])
    junk.document = {"keys": odd_keys(junk.keys[0].jwk())}
    settings = {"JWT_ISSUER": junk.name, "JWT_AUDIENCE": "*", "WEB_CONCURRENCY": "1", "JWKS_TTL": "2"}
    with production(free_port(), tmp_path / "log", **settings, JWKS_COOLDOWN="1") as server:
        wait_until(lambda: send(server, junk.token())[0] == 200)
        for at in range(len(junk.document["keys"])):
            for algorithm in ("RS256", "PS256", "ES256", "EdDSA"):
                header = {"alg": algorithm, "kid": f"odd-{at}"}
                status, body = send(server, f"{encode(header)}.{encode(junk.claims())}.{b64(bytes(64))}")
                assert status in (401, 503), (junk.document["keys"][at], body)
        for junk.document in JUNK_SETS:
            time.sleep(0.5)
            assert send(server, junk.token())[0] == 200  # the cached keys stay
        assert "Traceback" not in server.output()
        lines = server.output().count("jwks_key_skipped")
        assert lines <= 2 * 128
    junk.close()


JUNK_SETS = [
    {"keys": []},
    {"keys": {}},
    {"keys": None},
    {},
    [],
    b"",
    b"null",
    b'{"keys": [',
    b"<html>",
    b"\xff\xfe{}",
    b"[" * 100_000,
    {"keys": [{"kty": "oct", "k": "AAAA", "kid": "good"}]},
    {"keys": [{"kty": "RSA", "kid": f"{number}"} for number in range(3000)]},
]
