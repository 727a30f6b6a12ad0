from zuplo_origin.testing import TestCase


class ProtectedTest(TestCase):
    def test_protected_returns_the_claims_of_the_caller(self):
        response = self.acting_as(sub="user-1").get("/protected")

        response.assertOk().assertJsonPath("message", "Access granted").assertJsonPath("user.sub", "user-1")

    def test_protected_rejects_a_request_without_a_token(self):
        self.get("/protected").assertUnauthorized().assertJson({"error": "No token provided"})

    def test_protected_rejects_an_expired_token(self):
        self.acting_as(exp=1).get("/protected").assertUnauthorized().assertJson({"error": "Token has expired"})
