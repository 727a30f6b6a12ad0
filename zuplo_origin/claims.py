"""Typed claims: an action's parameter that is annotated with a subclass of ``Claims`` is the caller's token, validated.

``from zuplo_origin.claims import Claims``. The module imports pydantic: an application that does not use it pays
nothing.
"""

from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from zuplo_origin.http import HttpException
from zuplo_origin.jwt.reasons import Reason, Rejected


class Claims(BaseModel):
    """Claims of the caller's verified token. Declare the ones that an action needs as fields; others are left out.

    A field whose claim has another name, such as a URL, has an alias. A token that does not fit is 403, with the reason
    ``claim_mismatch``; a request without a verified token is 401.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    @classmethod
    def __from_request__(cls, request: Any) -> Any:
        """Return the claims of ``request``. Raises ``HttpException`` 401 or 403."""
        claims = request.user()
        if not isinstance(claims, dict):
            raise HttpException(401)
        try:
            return cls.model_validate(deepcopy(claims))  # a validator may change what it gets
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            reason = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'claims'}: {each['msg']}" for each in faults)
        request.rejected = Rejected(Reason.CLAIM_MISMATCH, issuer=claims.get("iss"))
        raise HttpException(403, reason=f"{cls.__name__}: {reason}")
