"""Binds what decides on tokens."""

from app.foundation.Headers import environ_key
from app.foundation.Provider import Provider
from app.jwks.algorithms import names_of
from app.jwt.rules import Issuer
from app.jwt.TokenVerifier import TokenVerifier
from app.middlewares.Guard import Guard


class JWTProvider(Provider):
    """Binds ``guard``, for ``JWTAuthMiddleware``: the verifier, over the keys of ``jwks``, and where tokens stand."""

    def register(self) -> None:
        if not self.application.has("settings"):
            return
        settings, keys = self.application.make("settings"), self.application.make("jwks")
        issuers = [
            Issuer(
                issuer.name,
                frozenset(name for algorithm in issuer.algorithms for name in names_of(algorithm)),
                issuer.audiences,
                issuer.required_claims,
                settings.leeway,
                keys[issuer.name],
            )
            for issuer in settings.issuers
        ]
        metrics = self.application.make("metrics") if self.application.has("metrics") else None
        verifier = TokenVerifier(issuers, cache_size=settings.cache_size, observer=metrics)
        header, metadata = environ_key(settings.header), settings.resource_metadata
        self.application.bind("guard", Guard(verifier, header, settings.scheme, settings.realm, metadata))
