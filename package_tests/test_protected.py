"""A guarded route accepts tokens that the gateway signed, and rejects all other requests."""

import pytest
from masonite.controllers import Controller
from masonite.response import Response
from masonite.routes import Route

from package_tests.support.signing import ALGORITHMS, Key
from package_tests.support.wsgi_client import request
from zuplo_origin.http.errors import HttpException

NO_STORE = ("no-store", "nosniff")


def get(application, token=None, path="/protected", method="GET", **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return request(application, method, path, headers)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_of_every_algorithm_is_accepted(application, issuer, algorithm):
    claims = issuer.claims(jti="1")

    response = get(application, issuer.key(algorithm).token(claims))

    assert (response.status, response.json) == (200, {"message": "Access granted", "user": claims})
    assert (response.headers["cache-control"], response.headers["x-content-type-options"]) == NO_STORE


def test_token_with_algorithm_ed25519_is_accepted_as_eddsa(application, issuer):
    assert get(application, issuer.token(header={"alg": "Ed25519"})).status == 200


def test_request_without_a_token_is_rejected(application):
    response = get(application)

    assert (response.status, response.json) == (401, {"error": "No token provided"})
    assert response.headers["www-authenticate"] == 'Bearer realm="Zuplo origin"'
    assert response.headers["cache-control"] == "no-store"


def test_expired_token_is_rejected(application, issuer):
    response = get(application, issuer.token(exp=1, iat=0))

    assert (response.status, response.json) == (401, {"error": "Token has expired"})
    assert response.headers["www-authenticate"] == (
        'Bearer realm="Zuplo origin", error="invalid_token", error_description="Token has expired"'
    )


def test_token_of_another_key_with_a_known_key_id_is_rejected(application, issuer):
    response = get(application, Key("EdDSA", "k-EdDSA").token(issuer.claims(exp=1)))

    assert response.status == 401
    assert response.json == {"error": "Invalid token", "details": "The token's signature is not valid"}
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_head_returns_the_headers_of_get_without_a_body(application, issuer):
    get_response, head = (
        get(application, issuer.token(jti="1"), method=method, zp_rid="r-1") for method in ("GET", "HEAD")
    )

    assert head.body == b""
    assert (head.status, sorted(head.header_list)) == (get_response.status, sorted(get_response.header_list))


def test_options_returns_allow_without_a_token(application):
    response = get(application, method="OPTIONS")

    assert (response.status, response.body, response.headers["allow"]) == (204, b"", "GET, HEAD, OPTIONS")
    assert set(response.headers) == {"allow"} | set(get(application, path="/health/live").headers) - {
        "content-type",
        "content-length",
    }


def test_other_method_is_not_allowed(application):
    response = get(application, method="POST")

    assert (response.status, response.json) == (405, {"error": "Method not allowed"})
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


def test_claims_of_a_request_are_not_kept_for_the_next(application, issuer):
    assert get(application, issuer.token(sub="alice")).json["user"]["sub"] == "alice"
    assert get(application).status == 401
    assert get(application, issuer.token(sub="bob")).json["user"]["sub"] == "bob"


def test_ready_is_ok_with_cached_keys(application, issuer):
    get(application, issuer.token())

    response = get(application, path="/health/ready")

    assert (response.status, response.json) == (200, {"status": "ok"})


def test_live_is_ok_without_a_token(application):
    assert get(application, path="/health/live").json == {"status": "ok"}


class CacheableController(Controller):
    def breaks(self):
        raise HttpException(400, headers={"Cache-Control": "public"})

    def allows(self, response: Response):
        response.header("Cache-Control", "public, max-age=60")
        return {}


@pytest.mark.parametrize(("action", "status"), [("breaks", 400), ("allows", 200)])
def test_response_of_a_guarded_route_is_not_cacheable_even_if_the_action_allows_it(application, issuer, action, status):
    router = application.make("router")
    before = router.routes
    try:
        router.add(Route.get("/cacheable", getattr(CacheableController, action)).middleware("jwt"))
        response = get(application, issuer.token(), "/cacheable")
    finally:
        router.routes = before

    assert (response.status, response.headers["cache-control"]) == (status, "no-store")
