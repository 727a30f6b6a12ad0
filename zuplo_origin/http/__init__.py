"""Masonite made safe under threads: container, request, response, routing and handler.

Masonite keeps every binding of its container in one dict of the process, the current request and response included.
The classes here are subclasses of its own, which ``wsgi.py`` puts in their place.
"""

import masonite.routes  # noqa: F401  # first: masonite.response and masonite.routes import each other, and only this way

from .errors import HttpException

__all__ = ["HttpException"]
