"""Binds the guard of protected routes."""

from zuplo_origin.factory import make_guard
from zuplo_origin.http.kernel import Provider


class JWTProvider(Provider):
    """Binds `guard`, which `JWTAuthMiddleware` calls."""

    def register(self) -> None:
        if not self.application.has("settings"):
            return
        make = self.application.make
        metrics = make("metrics") if self.application.has("metrics") else None
        self.application.bind("guard", make_guard(make("settings"), make("jwks"), metrics))
