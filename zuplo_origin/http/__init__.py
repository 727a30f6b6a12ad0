"""Masonite made safe under threads: application, request, response, routing and errors.

Masonite keeps all bindings of its container, the current request and response included, in one dict of the process.
The classes here are subclasses of Masonite's, and ``wsgi.py`` uses them instead.
"""

import masonite.routes  # noqa: F401  # masonite.response and masonite.routes import each other: this order works

from .errors import HttpException
from .rendering import etag_of

__all__ = ["HttpException", "etag_of"]
