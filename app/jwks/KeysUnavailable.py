"""What is raised where the answer is not known."""

import math


class KeysUnavailable(Exception):
    """No key of ``issuer`` can be had, through no fault of the token's. ``retry_after`` is in seconds."""

    def __init__(self, issuer: str, retry_after: float) -> None:
        super().__init__("signing keys unavailable")
        self.issuer = issuer
        self.retry_after = math.ceil(max(1.0, retry_after))
