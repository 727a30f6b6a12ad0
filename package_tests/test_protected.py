"""The main job: a token signed by the gateway opens /protected, nothing else does."""

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
def test_a_token_of_every_algorithm_opens_the_controller(application, issuer, algorithm):
    claims = issuer.claims(jti="1")

    answer = get(application, issuer.key(algorithm).token(claims))

    assert (answer.status, answer.json) == (200, {"message": "Access granted", "user": claims})
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == NO_STORE


def test_the_name_that_rfc_9864_gives_eddsa_is_taken_too(application, issuer):
    assert get(application, issuer.token(header={"alg": "Ed25519"})).status == 200


def test_no_token(application):
    answer = get(application)

    assert (answer.status, answer.json) == (401, {"error": "No token provided"})
    assert answer.headers["www-authenticate"] == 'Bearer realm="Zuplo origin"'
    assert answer.headers["cache-control"] == "no-store"


def test_an_expired_token(application, issuer):
    answer = get(application, issuer.token(exp=1, iat=0))

    assert (answer.status, answer.json) == (401, {"error": "Token has expired"})
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="Zuplo origin", error="invalid_token", error_description="Token has expired"'
    )


def test_a_strangers_token_under_a_real_key_id(application, issuer):
    answer = get(application, Key("EdDSA", "k-EdDSA").token(issuer.claims(exp=1)))

    assert answer.status == 401
    assert answer.json == {"error": "Invalid token", "details": "The token's signature is not valid"}
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_head_answers_like_get_without_the_body(application, issuer):
    answered, head = (
        get(application, issuer.token(jti="1"), method=method, zp_rid="r-1") for method in ("GET", "HEAD")
    )

    assert head.body == b""
    assert (head.status, sorted(head.header_list)) == (answered.status, sorted(answered.header_list))


def test_options_needs_no_token_and_tells_nothing_but_allow(application):
    answer = get(application, method="OPTIONS")

    assert (answer.status, answer.body, answer.headers["allow"]) == (204, b"", "GET, HEAD, OPTIONS")
    assert set(answer.headers) == {"allow"} | set(get(application, path="/health/live").headers) - {
        "content-type",
        "content-length",
    }


def test_another_method_is_told_which_are_allowed(application):
    answer = get(application, method="POST")

    assert (answer.status, answer.json) == (405, {"error": "Method not allowed"})
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_the_claims_of_one_request_are_not_those_of_the_next(application, issuer):
    assert get(application, issuer.token(sub="alice")).json["user"]["sub"] == "alice"
    assert get(application).status == 401
    assert get(application, issuer.token(sub="bob")).json["user"]["sub"] == "bob"


def test_readiness_tells_that_keys_are_held(application, issuer):
    get(application, issuer.token())

    answer = get(application, path="/health/ready")

    assert (answer.status, answer.json) == (200, {"status": "ok"})


def test_liveness_needs_nothing(application):
    assert get(application, path="/health/live").json == {"status": "ok"}


class CacheableController(Controller):
    def breaks(self):
        raise HttpException(400, headers={"Cache-Control": "public"})

    def allows(self, response: Response):
        response.header("Cache-Control", "public, max-age=60")
        return {}


@pytest.mark.parametrize(("action", "status"), [("breaks", 400), ("allows", 200)])
def test_no_answer_of_a_guarded_route_is_kept_whatever_the_action_says(application, issuer, action, status):
    router = application.make("router")
    before = router.routes
    try:
        router.add(Route.get("/cacheable", getattr(CacheableController, action)).middleware("jwt"))
        answer = get(application, issuer.token(), "/cacheable")
    finally:
        router.routes = before

    assert (answer.status, answer.headers["cache-control"]) == (status, "no-store")
