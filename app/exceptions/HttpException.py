"""An answer other than the one that was asked for."""

from collections.abc import Mapping


class HttpException(Exception):
    """Raise it anywhere in a request to answer with ``status`` and its fixed phrase.

    ``headers`` are sent with the answer. There is no room for a message: what is said to clients stands in
    ``app/exceptions/answers.py``.
    """

    is_http_exception = True

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})

    def get_status(self) -> int:
        return self.status
