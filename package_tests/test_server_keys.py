"""Keys and tokens as providers really send them, on the production server."""

import time

import pytest

from package_tests.support.issuer import Issuer, send
from package_tests.support.servers import free_port, production
from package_tests.support.signing import Key

COOLDOWN = 2


@pytest.fixture(scope="module")
def issuer():
    made = Issuer([])
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(issuer, tmp_path_factory):
    issuer.keys = [Key("ES256", "first")]
    settings = {
        "JWT_ISSUER": f"{issuer.name}, urn:example:issuer",
        "JWKS_URL": f"{issuer.jwks_url}, {issuer.jwks_url}",
        "JWT_AUDIENCE": "*",
        "JWT_MAX_BYTES": "24576",
        "JWKS_COOLDOWN": str(COOLDOWN),
        "WEB_CONCURRENCY": "1",
    }
    with production(free_port(), tmp_path_factory.mktemp("server") / "log", **settings) as made:
        yield made


def get(server, token, scheme="Bearer "):
    status, headers, body = server.get("/protected", {"Authorization": scheme + token})
    return status, headers, body


def replace_keys(issuer, *keys):
    """Publish `keys`, when the fetches that other tests have caused are no longer counted."""
    time.sleep(COOLDOWN + 0.3)
    issuer.keys, issuer.document = list(keys), None
    issuer.requests.clear()


def test_same_key_twice_is_accepted(server, issuer):
    key = Key("ES256", "twice")
    replace_keys(issuer, key, key)

    assert get(server, key.token(issuer.claims()))[0] == 200


@pytest.mark.parametrize("kid", ["1", None])
def test_key_replaced_under_its_kid_is_accepted_at_once_and_the_old_one_rejected(server, issuer, kid):
    old, new = Key("EdDSA", kid), Key("EdDSA", kid)
    replace_keys(issuer, old)
    assert get(server, old.token(issuer.claims()))[0] == 200
    replace_keys(issuer, new)

    assert get(server, new.token(issuer.claims()))[0] == 200
    assert get(server, old.token(issuer.claims()))[0] == 401
    assert len(issuer.requests) <= 2


def test_two_keys_under_one_kid_are_both_accepted(server, issuer):
    first, second = Key("RS256", "same", fresh=True), Key("RS256", "same", fresh=True)
    replace_keys(issuer, first, second)

    assert [get(server, key.token(issuer.claims()))[0] for key in (first, second)] == [200, 200]


def test_token_with_a_kid_is_accepted_if_the_only_key_has_none(server, issuer):
    key = Key("ES256", None)
    replace_keys(issuer, key)

    assert get(server, key.token(issuer.claims(), kid="anything"))[0] == 200


def test_issuer_that_is_no_url_is_accepted(server, issuer):
    key = Key("ES256", "urn")
    replace_keys(issuer, key)

    assert get(server, key.token(issuer.claims(iss="urn:example:issuer")))[0] == 200


def test_long_token_and_several_spaces_are_accepted(server, issuer):
    key = Key("ES256", "long")
    replace_keys(issuer, key)
    token = key.token(issuer.claims(groups=["00000000-0000-0000-0000-000000000000"] * 300))
    assert len(token) > 15_000

    assert [get(server, token, scheme)[0] for scheme in ("Bearer ", "bearer   ")] == [200, 200]
    status, _, body = get(server, key.token(issuer.claims(x="x" * 20_000)))
    assert status == 401 and b"The token is too large" in body


def test_new_key_during_a_flood_gets_503_with_a_true_retry_after(server, issuer):
    old, new, forger = Key("ES256", "old"), Key("ES256", "new"), Key("ES256", "old")
    replace_keys(issuer, old)
    assert get(server, old.token(issuer.claims()))[0] == 200
    for _ in range(5):
        replace_keys(issuer, old)
        began = time.monotonic()
        flood = [get(server, forger.token(issuer.claims(), kid=f"unknown-{n}"))[0] for n in range(6)]
        forged = [get(server, forger.token(issuer.claims(), jti=str(n)))[0] for n in range(6)]
        issuer.keys = [old, new]
        status, headers, _ = get(server, new.token(issuer.claims()))
        if time.monotonic() - began < COOLDOWN:
            break  # on a busy machine, all this takes longer than a window
    began = time.monotonic()

    assert flood == [401, 401, 503, 503, 503, 503] and forged == [401] * 6
    assert (status, len(issuer.requests)) == (503, 2)
    assert 1 <= int(headers["retry-after"]) <= COOLDOWN
    time.sleep(int(headers["retry-after"]))
    assert get(server, new.token(issuer.claims()))[0] == 200
    assert time.monotonic() - began < COOLDOWN + 3
    assert get(server, old.token(issuer.claims()))[0] == 200


def test_wrong_etag_hides_no_rotation(server, issuer):
    key = Key("ES256", "behind-etag")
    replace_keys(issuer, key)
    issuer.behave = lambda handler: (
        send(handler, 304, b"") if "If-None-Match" in handler.headers else issuer.respond(handler)
    )
    issuer.headers = {"ETag": '"1"'}
    try:
        assert get(server, key.token(issuer.claims()))[0] == 200
    finally:
        issuer.behave, issuer.headers = None, {}
