"""The guard: a request goes on with verified claims, or not at all."""

from typing import Any

from masonite.middleware import Middleware

from app.exceptions import answers
from app.jwks.KeysUnavailable import KeysUnavailable
from app.jwt.reasons import Reason, Refused
from app.jwt.scopes import has_scopes

from .bearer import token_from
from .Guard import Guard


class JWTAuthMiddleware(Middleware):
    """Registered in the Kernel as ``jwt``. ``.middleware("jwt:read:orders,write:orders")`` asks for all those scopes.

    Controllers behind it get the claims from ``request.user()``. Why a request was refused is left in
    ``request.refused``, for the log.
    """

    before_body = True  # it looks at the headers alone

    def before(self, request: Any, response: Any, *scopes: str) -> Any:
        guard: Guard = request.app.make("guard")
        try:
            claims = self._claims(request, guard)
            if scopes and not has_scopes(claims, *scopes):
                raise Refused(Reason.INSUFFICIENT_SCOPE, issuer=claims["iss"])
        except KeysUnavailable as unavailable:
            refused = Refused(Reason.KEYS_UNAVAILABLE, issuer=unavailable.issuer, retry_after=unavailable.retry_after)
        except Refused as refusal:
            refused = refusal
        else:
            request.set_user(claims)
            return request
        request.refused = refused.with_traceback(None)  # which holds the request, in turn
        challenge = answers.Challenge(guard.scheme or "Bearer", guard.realm, scopes, guard.resource_metadata)
        return answers.refusal(response, refused.reason, challenge, refused.retry_after)

    def _claims(self, request: Any, guard: Guard) -> dict[str, Any]:
        """Return the verified claims, or raise why there are none: found out once for each request."""
        if request.verified is None:
            try:
                request.verified = guard.verifier.verify(token_from(request.environ.get(guard.header), guard.scheme))
            except (KeysUnavailable, Refused) as error:
                request.verified = error
        if isinstance(request.verified, Exception):
            raise request.verified
        return request.verified  # type: ignore[no-any-return]

    def after(self, request: Any, response: Any, *scopes: str) -> Any:
        """Keep the answer out of every cache, whatever the controller said (RFC 9111, section 5.2.2.5)."""
        response.header("Cache-Control", "no-store")
        return request
