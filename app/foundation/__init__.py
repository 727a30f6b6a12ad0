"""What makes Masonite safe under threads, and sparing: requests that share nothing, read late and within limits.

Masonite keeps every binding of its container in one dict of the process, the current request and response included.
Nothing in the framework is changed for it: the classes here are subclasses, put in by ``wsgi.py``.
"""

import masonite.routes  # noqa: F401  # first: masonite.response and masonite.routes import each other, and only this way
