"""Headers whose names stay what they are."""

from typing import Any

from masonite.headers import Header, HeaderBag


def environ_key(name: str) -> str:
    """Return the WSGI key of the request header ``name`` (RFC 3875, section 4.1.18).

    WSGI folds ``-`` and ``_`` into one: beyond that, two names never share a key.
    """
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


class Headers(HeaderBag):
    """A bag of headers, each under its own name, whatever its case (RFC 9110, section 5.1).

    Masonite's own makes ``X-Request`` of ``X-Request-Id``, ``E-Tag`` of ``ETag`` and ``Authorization`` of
    ``HTTP-Authorization``.
    """

    def convert_name(self, name: str) -> str:
        return name.lower()

    def load(self, environ: dict[str, Any]) -> None:
        for key, value in environ.items():
            if key.startswith("HTTP_"):
                name = "-".join(part.capitalize() for part in key[5:].split("_"))
                self.add(Header(name, value))

    def render(self) -> list[tuple[str, str]]:
        return [(header.name, header.value) for header in self.bag.values()]

    def to_dict(self, server_names: bool = False) -> dict[str, str]:
        return {environ_key(header.name) if server_names else header.name: header.value for header in self.bag.values()}
