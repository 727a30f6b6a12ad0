"""The gateway whose tokens `wsgi.application` believes in tests."""

from .issuer import Issuer

GATEWAY = Issuer()
