"""The production server: see deploy/server.py."""

from masonite.environment import env

# The port that it listens on, on all interfaces.
PORT = env("PORT", "", cast=False) or "8000"

# Processes: about one a core.
PROCESSES = env("WEB_CONCURRENCY", "", cast=False) or "2"

# Threads in each process. At most half of them ever wait for keys, so that the others go on answering.
THREADS = env("WEB_THREADS", "", cast=False) or "8"

# Seconds, from the end of the headers, in which a body must have arrived.
BODY_TIMEOUT = env("BODY_TIMEOUT", "", cast=False) or "30"
