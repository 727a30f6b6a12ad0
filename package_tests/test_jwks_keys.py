"""Key sets: which keys are usable, and why others are skipped."""

import json

import pytest

from package_tests.support.signing import ALGORITHMS as ALL
from package_tests.support.signing import Key, b64, number, unb64
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.failures import BadKeySet
from zuplo_origin.jwks.keys import parse_key_set

EVERY = frozenset(ALGORITHMS)
GOOD = Key("ES256", "good")


def parse(*entries, allowed=EVERY):
    return parse_key_set(json.dumps({"keys": list(entries)}).encode(), allowed)


def only(key_set, kid, algorithm):
    """Return the one verifier that fits."""
    (verifier,) = key_set.find(kid, algorithm)
    return verifier


def why(entry, allowed=EVERY):
    """Return the cause to skip `entry`, next to a usable key, and its words."""
    key_set = parse(entry, GOOD.jwk(), allowed=allowed)
    assert [key.kid for key in key_set.keys] == ["good"]
    return key_set.unusable[0].cause.value, key_set.unusable[0].why


@pytest.mark.parametrize("algorithm", ALL)
def test_key_verifies_signatures_of_its_private_key(algorithm):
    key = Key(algorithm, "k")
    verifier = only(parse(key.jwk()), "k", algorithm)

    assert verifier.verify(b"data", key.sign(b"data"))
    assert not verifier.verify(b"other", key.sign(b"data"))
    assert not verifier.verify(b"data", b"")


SMALL_ORDER = [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"\xed" + b"\xff" * 30 + b"\x7f"]


@pytest.mark.parametrize("point", [*SMALL_ORDER, b"\x02" + bytes(31)], ids=[*"0123", "none"])
def test_ed25519_key_of_small_order_is_unusable(point):
    assert why(Key("EdDSA").jwk(x=b64(point)))[0] == "key_point"


def test_non_canonical_ed25519_signature_is_invalid():
    key = Key("EdDSA", "k")
    verifier = only(parse(key.jwk()), "k", "EdDSA")
    signature = key.sign(b"data")
    order = 2**252 + 27742317777372353535851937790883648493
    again = int.from_bytes(signature[32:], "little") + order

    assert verifier.verify(b"data", signature)
    assert not verifier.verify(b"data", signature[:32] + again.to_bytes(32, "little"))


def test_example_of_rfc_8037_appendix_a_4():
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

    assert only(parse(jwk), None, "EdDSA").verify(signed, unb64(signature))


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

    assert only(parse(jwk), None, "RS256").verify(signed, unb64(signature))


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

    assert only(parse(jwk), None, "ES256").verify(signed, unb64(signature))


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
    "RSA of 8200 bits": Key("RS256").jwk(n=number(2**8199 + 1)),
    "RSA with an even n": Key("RS256").jwk(n=number(2**2047 + 2)),
    "RSA with e 1": Key("RS256").jwk(e="AQ"),
    "RSA with e 2**32 + 1": Key("RS256").jwk(e=number(2**32 + 1)),
    "RSA with an e of 3060 bits": Key("RS256").jwk(e=number(2**3059 + 1)),
    "n with a line break": Key("RS256").jwk(n=Key("RS256").jwk()["n"] + "\n"),
    "x with unused bits": Key("EdDSA").jwk(x="A" * 42 + "B"),
    "no curve": Key("ES256").jwk(crv=None, alg=None),
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


REPLACE = "the issuer publishes its private key, and must replace it"
RSA_NAMES = "RS256, RS384, RS512, PS256, PS384, PS512"
WHY = {
    "not an object": ("key_not_object", "it is a string, not an object"),
    "null": ("key_not_object", "it is null, not an object"),
    "a list": ("key_not_object", "it is a list, not an object"),
    "empty": ("key_type", "its kty is missing; expected RSA, EC or OKP"),
    "symmetric": (
        "key_symmetric",
        "it is symmetric (kty oct): any reader of the key set could sign with it; publish a public key",
    ),
    "private Ed25519": ("key_private", "it is private (it has d): " + REPLACE),
    "private RSA": ("key_private", "it is private (it has d): " + REPLACE),
    "RSA in primes": ("key_private", "it is private (it has p): " + REPLACE),
    "for encryption": ("key_use", "its use is 'enc', not 'sig'"),
    "use is not a string": ("key_member_type", "its use is a list, not a string"),
    "kid is not a string": ("key_member_type", "its kid is a number, not a string"),
    "alg is not a string": ("key_member_type", "its alg is a number, not a string"),
    "only signs": ("key_ops", "its key_ops are '['sign']', and lack 'verify'"),
    "key_ops is not a list": ("key_ops", "its key_ops are 'verify', and lack 'verify'"),
    "key_ops is empty": ("key_ops", "its key_ops are '[]', and lack 'verify'"),
    "RSA of 1024 bits": ("key_too_short", "its n has 1024 bits; RSA keys need 2048 or more"),
    "RSA of 8200 bits": ("key_too_long", "its n has 8200 bits; RSA keys have 8192 at most"),
    "RSA with an even n": ("key_modulus", "its n is even: it is not a product of two large primes"),
    "RSA with an even e": ("key_exponent", "its e is 2; expected an odd number from 3 to 4294967295"),
    "RSA with e 1": ("key_exponent", "its e is 1; expected an odd number from 3 to 4294967295"),
    "RSA with e 2**32 + 1": ("key_exponent", "its e is 4294967297; expected an odd number from 3 to 4294967295"),
    "RSA with an e of 3060 bits": (
        "key_exponent",
        "its e is a number of 3060 bits; expected an odd number from 3 to 4294967295",
    ),
    "RSA without n": ("key_member_missing", "its n is missing"),
    "RSA without e": ("key_member_missing", "its e is missing"),
    "n is a number": ("key_member_type", "its n is a number, not a string"),
    "n in plain base64": (
        "key_alphabet",
        "its n is in the standard base64 alphabet (it has + or /); a JWK needs base64url, with - and _",
    ),
    "n padded": ("key_padding", "its n has base64 padding (=); base64url has none in a JWK"),
    "n with a line break": ("key_encoding", "its n is not base64url (it has the character '?')"),
    "x with unused bits": ("key_encoding", "its x is not base64url (unused bits are set, or its length is wrong)"),
    "alg of another kty": ("key_algorithm", f"its alg is 'ES256'; its kty and crv need one of {RSA_NAMES}"),
    "alg of another curve": ("key_algorithm", "its alg is 'ES384'; its kty and crv need one of ES256"),
    "alg for encryption": ("key_algorithm", f"its alg is 'RSA-OAEP'; its kty and crv need one of {RSA_NAMES}"),
    "alg none": ("key_algorithm", f"its alg is 'none'; its kty and crv need one of {RSA_NAMES}"),
    "an unknown curve": ("key_curve", "its crv is 'secp256k1'; expected P-256, P-384, P-521 for kty EC"),
    "curve is a list": ("key_member_type", "its crv is a list, not a string"),
    "Ed448": ("key_curve", "its crv is 'Ed448'; expected Ed25519 for kty OKP"),
    "X25519": ("key_curve", "its crv is 'X25519'; expected Ed25519 for kty OKP"),
    "no curve": ("key_curve", "its crv is missing; expected P-256, P-384, P-521 for kty EC"),
    "a point off its curve": ("key_point", "its numbers are not a valid public key"),
    "a coordinate too short": ("key_length", "its x has 31 bytes; P-256 needs 32"),
    "an Ed25519 x too long": ("key_length", "its x has 33 bytes; Ed25519 needs 32"),
    "no y": ("key_member_missing", "its y is missing"),
    "an unknown kty": ("key_type", "its kty is 'XYZ'; expected RSA, EC or OKP"),
    "kty is a list": ("key_member_type", "its kty is a list, not a string"),
    "EC on a curve of OKP": ("key_curve", "its crv is 'Ed25519'; expected P-256, P-384, P-521 for kty EC"),
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
    cause, text = why(Key("EdDSA").jwk(), allowed=frozenset({"ES256"}))
    assert (cause, text) == ("key_not_allowed", "its algorithm is not allowed; add EdDSA to JWT_ALGORITHMS")
    every = "RS256 or RS384 or RS512 or PS256 or PS384 or PS512"
    assert every in why(Key("RS256").jwk(alg=None), allowed=frozenset({"ES256"}))[1]


DOCUMENTS = {
    b"": ("not_json", "it is not JSON; it is empty"),
    b" \n": ("not_json", "it is not JSON; it is empty"),
    b"<html>": ("not_json", "it is not JSON; it begins with '<html>'"),
    b"\xff": ("not_json", "it is not JSON; it begins with '?'"),
    b"[" * 100_000: ("not_json", f"it is not JSON; it begins with '{'[' * 40}'"),
    b'{"keys": [NaN]}': ("not_json", "it is not JSON; it begins with '{\"keys\": [NaN]}'"),
    b"\xef\xbb\xbf" + b'{"keys": []}': (
        "byte_order_mark",
        "it begins with a byte order mark (UTF-8); the server must send JSON in UTF-8 without one",
    ),
    '{"keys": []}'.encode("utf-16"): (
        "byte_order_mark",
        "it begins with a byte order mark (UTF-16); the server must send JSON in UTF-8 without one",
    ),
    b"[]": ("no_keys", "it is not a key set: it is a list, without a list 'keys'"),
    b"null": ("no_keys", "it is not a key set: it is null, without a list 'keys'"),
    b"{}": ("no_keys", "it is not a key set: it is an object with no members, without a list 'keys'"),
    b'{"keys": {}}': ("no_keys", "it is not a key set: it is an object with 'keys', without a list 'keys'"),
    b'{"keys": null}': ("no_keys", "it is not a key set: it is an object with 'keys', without a list 'keys'"),
    b'{"keys": [], "keys": []}': (
        "no_keys",
        "it is not a key set: it is an object with the member 'keys' twice, without a list 'keys'",
    ),
    b'{"issuer": "x", "jwks_uri": "y"}': (
        "no_keys",
        "it is not a key set: it is an object with 'issuer', 'jwks_uri', without a list 'keys'; this is a discovery "
        "document: set JWKS_URL=discovery",
    ),
    b'{"keys": []}': ("empty", "its list of keys is empty; the issuer must publish a key"),
    b'{"keys": [%s]}' % b",".join([b"1"] * 129): ("too_many_keys", "it has 129 keys; 128 are accepted at most"),
    b'{"keys": [1, {"kid": "a", "kty": "oct"}]}': (
        "no_usable_key",
        "none of its 2 keys is usable: '-': it is a number, not an object; 'a': it is symmetric (kty oct): any reader "
        "of the key set could sign with it; publish a public key",
    ),
}


@pytest.mark.parametrize("body", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_document_without_a_usable_key_is_rejected_with_its_cause(body):
    with pytest.raises(BadKeySet) as rejected:
        parse_key_set(body, EVERY, "https://user:secret@issuer.example/jwks?key=secret#x")
    cause, text = DOCUMENTS[body]
    assert (rejected.value.cause.value, str(rejected.value)) == (cause, f"https://issuer.example/jwks?...: {text}")


def test_message_about_many_unusable_keys_lists_a_few():
    with pytest.raises(BadKeySet) as rejected:
        parse_key_set(json.dumps({"keys": [{"kid": f"k{n}", "kty": "oct"} for n in range(128)]}).encode(), EVERY)

    assert "'k7': it is symmetric" in str(rejected.value) and "k8" not in str(rejected.value)
    assert str(rejected.value).endswith("; and 120 more")


@pytest.mark.parametrize("name", ["use", "alg", "kid", "key_ops", "d", "p", "q", "dp", "dq", "qi", "oth", "k", "x5c"])
def test_member_that_is_null_counts_as_absent(name):
    key = Key("RS256", "k")
    key_set = parse(key.jwk() | {name: None})

    assert only(key_set, None if name == "kid" else "k", "RS256").verify(b"data", key.sign(b"data"))
    assert key_set.unusable == ()


def test_required_member_that_is_null_is_missing():
    assert why(Key("RS256").jwk() | {"n": None}) == ("key_member_missing", "its n is missing")


def test_key_without_alg_is_used_for_each_allowed_algorithm_of_its_type():
    key_set = parse(Key("RS256", "k").jwk(alg=None), allowed=frozenset({"RS256", "PS512", "ES256"}))

    assert {name for name in ALGORITHMS if key_set.find("k", name)} == {"RS256", "PS512"}


def test_key_with_alg_is_used_for_that_algorithm_only():
    key_set = parse(Key("RS256", "k").jwk())

    assert {name for name in ALGORITHMS if key_set.find("k", name)} == {"RS256"}


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519", None])
def test_eddsa_and_ed25519_are_the_same_algorithm(alg):
    key_set = parse(Key("EdDSA", "k").jwk(alg=alg))

    assert only(key_set, "k", "EdDSA") is only(key_set, "k", "Ed25519")


def test_same_key_twice_counts_once():
    key = Key("ES256", "a")
    twice = parse(key.jwk(), key.jwk())
    renamed = parse(key.jwk(), key.jwk(kid="b"), key.jwk(use=None, alg=None))

    assert len(twice.find("a", "ES256")) == len(twice.find(None, "ES256")) == 1
    assert [len(renamed.find(kid, "ES256")) for kid in ("a", "b", None)] == [1, 1, 1]


def test_rsa_key_with_a_leading_zero_byte_is_the_same_key():
    key = Key("RS256", "a")
    padded = key.jwk(n=b64(b"\0" + unb64(key.jwk()["n"])))

    assert len(parse(key.jwk(), padded).find("a", "RS256")) == 1


def test_different_keys_that_fit_are_found_in_the_order_of_the_set():
    first, second = Key("ES256", "same"), Key("ES256", "same")
    for kid in ("same", None):
        found = parse(first.jwk(), second.jwk()).find(kid, "ES256")
        assert [each.verify(b"x", second.sign(b"x")) for each in found] == [False, True]
    assert len(parse(first.jwk(), Key("RS256", "same").jwk()).find("same", "ES256")) == 1


def test_token_without_kid_fits_every_key_of_its_algorithm():
    key_set = parse(Key("ES256", "a").jwk(), Key("ES256", None).jwk(), Key("RS256", "c").jwk())

    assert len(key_set.find(None, "ES256")) == 2 and len(key_set.find(None, "RS256")) == 1


def test_key_without_kid_fits_a_kid_if_no_key_of_the_set_has_one():
    alone, symmetric = Key("ES256", None).jwk(), {"kty": "oct", "kid": "x"}

    assert len(parse(alone).find("a", "ES256")) == len(parse(alone).find(None, "ES256")) == 1
    assert parse(alone, Key("RS256", "b").jwk()).find("a", "ES256") == ()
    assert parse(alone, symmetric).find("a", "ES256") == ()  # an unusable key with a kid counts, too
    assert parse(Key("ES256", "a").jwk()).find("other", "ES256") == ()


@pytest.mark.parametrize(
    ("kid", "algorithm", "text"),
    [
        ("a", "ES256", "1 key fits the kid 'a'"),
        ("two", "ES256", "2 different keys fit the kid 'two', tried in turn"),
        (None, "ES256", "3 different keys fit ES256, tried in turn"),
        (None, "PS256", "none of the 3 usable keys is for PS256"),
        ("a", "RS256", "the key 'a' is for ES256, not for RS256"),
        ("w", "RS256", "the key 'w' is not usable: its n has 1024 bits; RSA keys need 2048 or more"),
        ("z", "ES256", "none of the 4 keys has the kid 'z'; the set has 'a', 'two', 'w'"),
    ],
)
def test_key_set_describes_which_keys_fit(kid, algorithm, text):
    weak = Key("RS256", "w", bits=1024).jwk()
    key_set = parse(Key("ES256", "a").jwk(), Key("ES256", "two").jwk(), Key("ES256", "two").jwk(), weak)

    assert key_set.describe(kid, algorithm) == text


@pytest.mark.parametrize("algorithm", ALL)
def test_signature_of_another_length_is_invalid(algorithm):
    key = Key(algorithm, "k")
    verifier, signature = only(parse(key.jwk()), "k", algorithm), key.sign(b"data")

    for other in (signature[1:], signature[:-1], b"\0" + signature, signature + b"\0", b"", signature * 2):
        assert not verifier.verify(b"data", other)
