"""Key sets: which keys are usable, and why others are skipped."""

import json

import pytest

from package_tests.support.signing import ALGORITHMS as ALL
from package_tests.support.signing import Key, b64, unb64
from zuplo_origin.jwks.keys import ALGORITHMS, BadKeySet, parse_key_set

EVERY = frozenset(ALGORITHMS)
GOOD = Key("ES256", "good")


def parse(*entries, allowed=EVERY):
    return parse_key_set(json.dumps({"keys": list(entries)}).encode(), allowed)


def why(entry, allowed=EVERY):
    """Return why `entry` is skipped, next to a usable key."""
    key_set = parse(entry, GOOD.jwk(), allowed=allowed)
    assert [key.kid for key in key_set.keys] == ["good"]
    return key_set.unusable[0].why


@pytest.mark.parametrize("algorithm", ALL)
def test_key_verifies_signatures_of_its_private_key(algorithm):
    key = Key(algorithm, "k")
    verifier = parse(key.jwk()).find("k", algorithm)

    assert verifier.verify(b"data", key.sign(b"data"))
    assert not verifier.verify(b"other", key.sign(b"data"))
    assert not verifier.verify(b"data", b"")


SMALL_ORDER = [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"\xed" + b"\xff" * 30 + b"\x7f"]


@pytest.mark.parametrize("point", [*SMALL_ORDER, b"\x02" + bytes(31)], ids=[*"0123", "none"])
def test_ed25519_key_of_small_order_is_unusable(point):
    assert why(Key("EdDSA").jwk(x=b64(point))) == "its numbers are not a valid key"


def test_non_canonical_ed25519_signature_is_invalid():
    key = Key("EdDSA", "k")
    verifier = parse(key.jwk()).find("k", "EdDSA")
    signature = key.sign(b"data")
    order = 2**252 + 27742317777372353535851937790883648493
    again = int.from_bytes(signature[32:], "little") + order

    assert verifier.verify(b"data", signature)
    assert not verifier.verify(b"data", signature[:32] + again.to_bytes(32, "little"))


def test_example_of_rfc_8037_appendix_a_4():
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

    assert parse(jwk).find(None, "EdDSA").verify(signed, unb64(signature))


def test_example_of_rfc_7515_appendix_a_2():
    jwk = {
        "kty": "RSA",
        "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
        "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7"
        "WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk"
        "2PAcDTW9gb54h4FRWyuXpoQ",
    }
    signed = (
        b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        b"cnVlfQ"
    )
    signature = (
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr"
        "7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--x"
        "i12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_Ioy"
        "pGlUPQGe77Rw"
    )

    assert parse(jwk).find(None, "RS256").verify(signed, unb64(signature))


def test_example_of_rfc_7515_appendix_a_3():
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    signed = (
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        b"cnVlfQ"
    )
    signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

    assert parse(jwk).find(None, "ES256").verify(signed, unb64(signature))


UNUSABLE = {
    "not an object": "text",
    "null": None,
    "a list": [],
    "empty": {},
    "symmetric": {"kty": "oct", "k": b64(b"x" * 32), "alg": "HS256"},
    "private Ed25519": Key("EdDSA").jwk(d=b64(b"x" * 32)),
    "private RSA": Key("RS256").jwk(d="AQAB"),
    "RSA in primes": Key("RS256").jwk(p="AQAB"),
    "for encryption": Key("RS256").jwk(use="enc"),
    "use is not a string": Key("RS256").jwk(use=["sig"]),
    "kid is not a string": Key("RS256").jwk(kid=7),
    "alg is not a string": Key("RS256").jwk(alg=1),
    "only signs": Key("RS256").jwk(key_ops=["sign"]),
    "key_ops is not a list": Key("RS256").jwk(key_ops="verify"),
    "key_ops is empty": Key("RS256").jwk(key_ops=[]),
    "RSA of 1024 bits": Key("RS256", bits=1024).jwk(),
    "RSA without n": Key("RS256").jwk(n=None),
    "RSA without e": Key("RS256").jwk(e=None),
    "RSA with an even e": Key("RS256").jwk(e="Ag"),
    "n is a number": Key("RS256").jwk(n=65537),
    "n in plain base64": Key("RS256").jwk(n="+" + Key("RS256").jwk()["n"][1:]),
    "n padded": Key("RS256").jwk(n=Key("RS256").jwk()["n"] + "="),
    "alg of another kty": Key("RS256").jwk(alg="ES256"),
    "alg of another curve": Key("ES256").jwk(alg="ES384"),
    "alg for encryption": Key("RS256").jwk(alg="RSA-OAEP"),
    "alg none": Key("RS256").jwk(alg="none"),
    "an unknown curve": Key("ES256").jwk(crv="secp256k1", alg=None),
    "curve is a list": Key("ES256").jwk(crv=["P-256"]),
    "Ed448": Key("EdDSA").jwk(crv="Ed448"),
    "X25519": Key("EdDSA").jwk(crv="X25519", alg=None),
    "a point off its curve": Key("ES256").jwk(x=b64(b"\1" * 32)),
    "a coordinate too short": Key("ES256").jwk(x=b64(b"\1" * 31)),
    "an Ed25519 x too long": Key("EdDSA").jwk(x=b64(b"\1" * 33)),
    "no y": Key("ES256").jwk(y=None),
    "an unknown kty": {"kty": "XYZ", "kid": "a"},
    "kty is a list": {"kty": ["RSA"]},
    "EC on a curve of OKP": Key("EdDSA").jwk(kty="EC"),
}


WHY = {
    "not an object": "it is not an object whose members are all named once",
    "null": "it is not an object whose members are all named once",
    "a list": "it is not an object whose members are all named once",
    "empty": "its kty and crv are not supported",
    "symmetric": "it is symmetric: any reader of the key set could sign with it",
    "private Ed25519": "it is private: its issuer has published its private key",
    "private RSA": "it is private: its issuer has published its private key",
    "RSA in primes": "it is private: its issuer has published its private key",
    "for encryption": "its use is not sig",
    "use is not a string": "its use is not a string",
    "kid is not a string": "its kid is not a string",
    "alg is not a string": "its alg is not a string",
    "only signs": "its key_ops do not include verify",
    "key_ops is not a list": "its key_ops do not include verify",
    "key_ops is empty": "its key_ops do not include verify",
    "RSA of 1024 bits": "it has 1024 bits: RSA keys need 2048 or more",
    "RSA with an even e": "its numbers are not a valid key",
    "alg of another kty": "its alg does not match its kty and crv, or is not a signature algorithm",
    "a point off its curve": "its numbers are not a valid key",
    "RSA without n": "its n is missing, or is not base64url of the right length",
    "n is a number": "its n is missing, or is not base64url of the right length",
    "n in plain base64": "its n is missing, or is not base64url of the right length",
    "n padded": "its n is missing, or is not base64url of the right length",
    "RSA without e": "its e is missing, or is not base64url of the right length",
    "alg of another curve": "its alg does not match its kty and crv, or is not a signature algorithm",
    "alg for encryption": "its alg does not match its kty and crv, or is not a signature algorithm",
    "alg none": "its alg does not match its kty and crv, or is not a signature algorithm",
    "an unknown curve": "its kty and crv are not supported",
    "curve is a list": "its kty and crv are not supported",
    "Ed448": "its kty and crv are not supported",
    "X25519": "its kty and crv are not supported",
    "an unknown kty": "its kty and crv are not supported",
    "kty is a list": "its kty and crv are not supported",
    "a coordinate too short": "its x is missing, or is not base64url of the right length",
    "an Ed25519 x too long": "its x is missing, or is not base64url of the right length",
    "no y": "its y is missing, or is not base64url of the right length",
    "EC on a curve of OKP": "its kty and crv are not supported",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_key_is_skipped(name):
    assert why(UNUSABLE[name]) == WHY[name]


def test_skipped_key_has_its_members_and_a_reason():
    (unusable,) = parse(Key("RS256", "weak", bits=1024).jwk(), GOOD.jwk()).unusable
    (unnamed,) = parse({"kid": 7, "kty": ["RSA"]}, GOOD.jwk()).unusable
    (lacking,) = parse(Key("ES384", "e").jwk(), GOOD.jwk(), allowed=frozenset({"ES256"})).unusable

    assert (unusable.kid, unusable.kty, unusable.crv) == ("weak", "RSA", None)
    assert (unusable.alg, unusable.use, unusable.lacking) == ("RS256", "sig", ())
    assert (unnamed.kid, unnamed.kty, unnamed.crv, unnamed.alg, unnamed.use) == (None, None, None, None, None)
    assert (lacking.kty, lacking.crv, lacking.lacking) == ("EC", "P-384", ("ES384",))


def test_usable_key_has_its_members():
    rsa, ec = parse(Key("RS256", "r").jwk(), Key("ES384", "e").jwk(use=None)).keys

    assert (rsa.kid, rsa.kty, rsa.crv, rsa.bits, rsa.alg, rsa.use) == ("r", "RSA", None, 2048, "RS256", "sig")
    assert (ec.kid, ec.kty, ec.crv, ec.bits, ec.alg, ec.use) == ("e", "EC", "P-384", None, "ES384", None)


def test_key_with_the_operation_verify_is_usable():
    assert parse(Key("ES256", "k").jwk(key_ops=["verify"])).find("k", "ES256")


def test_key_with_a_duplicate_member_is_skipped():
    twice = json.dumps(GOOD.jwk(kid="twice"))[:-1] + ', "kid": "good"}'
    body = f'{{"keys": [{twice}, {json.dumps(GOOD.jwk())}]}}'.encode()

    key_set = parse_key_set(body, EVERY)

    assert [key.kid for key in key_set.keys] == ["good"]
    assert len(key_set.unusable) == 1


def test_key_of_a_disallowed_algorithm_names_the_setting():
    lacks = "its algorithm is not allowed: JWT_ALGORITHMS lacks"

    assert why(Key("EdDSA").jwk(), allowed=frozenset({"ES256"})) == f"{lacks} EdDSA"
    every = "RS256 and RS384 and RS512 and PS256 and PS384 and PS512"
    assert why(Key("RS256").jwk(alg=None), allowed=frozenset({"ES256"})) == f"{lacks} {every}"


@pytest.mark.parametrize(
    ("body", "why"),
    [(body, "the response is not JSON") for body in (b"", b"<html>", b"\xff", b"[" * 100_000, b'{"keys": [NaN]}')]
    + [
        (body, "the response is not a key set: it has no list named keys")
        for body in (b"[]", b"null", b"{}", b'{"keys": {}}', b'{"keys": null}', b'{"keys": [], "keys": []}')
    ]
    + [(body, "the key set has no usable key") for body in (b'{"keys": []}', b'{"keys": [1, 2]}')],
)
def test_document_without_a_usable_key_is_rejected(body, why):
    with pytest.raises(BadKeySet) as rejected:
        parse_key_set(body, EVERY)
    assert str(rejected.value) == why


def test_key_without_alg_is_used_for_each_allowed_algorithm_of_its_type():
    key_set = parse(Key("RS256", "k").jwk(alg=None), allowed=frozenset({"RS256", "PS512", "ES256"}))

    assert {name for name in ALGORITHMS if key_set.find("k", name)} == {"RS256", "PS512"}


def test_key_with_alg_is_used_for_that_algorithm_only():
    key_set = parse(Key("RS256", "k").jwk())

    assert {name for name in ALGORITHMS if key_set.find("k", name)} == {"RS256"}


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519", None])
def test_eddsa_and_ed25519_are_the_same_algorithm(alg):
    key_set = parse(Key("EdDSA", "k").jwk(alg=alg))

    assert key_set.find("k", "EdDSA") is key_set.find("k", "Ed25519") is not None


def test_key_is_found_if_exactly_one_fits():
    first, second = Key("ES256", "same"), Key("ES256", "same")

    assert parse(first.jwk(), second.jwk()).find("same", "ES256") is None
    assert parse(first.jwk(), Key("RS256", "same").jwk()).find("same", "ES256") is not None
    assert parse(first.jwk()).find("other", "ES256") is None


def test_key_without_a_kid_in_the_token_is_found_if_exactly_one_fits():
    first, second = Key("ES256", "a").jwk(), Key("ES256", "b").jwk()

    assert parse(first, Key("RS256", "c").jwk()).find(None, "ES256") is not None
    assert parse(first, second).find(None, "ES256") is None


def test_key_without_kid_is_not_found_by_kid():
    assert parse(Key("ES256", None).jwk()).find("a", "ES256") is None
    assert parse(Key("ES256", None).jwk()).find(None, "ES256") is not None
