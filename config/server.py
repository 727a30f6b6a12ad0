"""The production server: see zuplo_origin/server."""

from masonite.environment import env

# The port that it listens on, on all interfaces.
PORT = env("PORT", None, cast=False)

# Processes: about one a core.
PROCESSES = env("WEB_CONCURRENCY", None, cast=False)

# Threads in each process. At most half of them wait for keys, so that the others go on answering.
THREADS = env("WEB_THREADS", None, cast=False)

# Seconds, from the end of the headers, in which a body must have arrived.
BODY_TIMEOUT = env("BODY_TIMEOUT", None, cast=False)

# The address that it listens on, an IP: `::` is IPv6 and IPv4, `127.0.0.1` is for a proxy on this machine alone.
HOST = env("HOST", None, cast=False)

# Seconds that an idle connection is kept: longer than the gateway's pool keeps it, or callers see 502.
KEEP_ALIVE = env("KEEP_ALIVE", None, cast=False)

# Seconds in which responses carry `Connection: close`, and /health/ready says `draining`, before the server ends.
SHUTDOWN_DRAIN = env("SHUTDOWN_DRAIN", None, cast=False)

# Streamed responses that each process has open at once, in threads of their own.
STREAMS = env("WEB_STREAMS", None, cast=False)

# Seconds in which a client must have taken something of a response.
SEND_TIMEOUT = env("SEND_TIMEOUT", None, cast=False)

# PEM files: with a certificate and its key, the server speaks https. With a client CA, it accepts only clients that
# have a certificate of that CA, which must issue to your gateway alone: names are not checked. Read again on HUP.
TLS_CERT = env("TLS_CERT", None, cast=False)
TLS_KEY = env("TLS_KEY", None, cast=False)
TLS_CLIENT_CA = env("TLS_CLIENT_CA", None, cast=False)

# A port for /health/* over plain http. Needed with TLS_CLIENT_CA: probes have no certificate.
HEALTH_PORT = env("HEALTH_PORT", None, cast=False)

# Connections that each process holds. At nine tenths of it, those that have been idle longest are closed.
MAX_CONNECTIONS = env("MAX_CONNECTIONS", None, cast=False)

# The folder where large request bodies are spooled, as files without a name; the default is the system's (TMPDIR).
UPLOAD_DIR = env("UPLOAD_DIR", None, cast=False)
