"""The production server, `python -m zuplo_origin.server`."""

from masonite.environment import env

# The IP address and the port to listen on. The default is 0.0.0.0, port 8000. `::` listens on IPv6 and IPv4;
# 127.0.0.1 is reachable for a proxy on the same machine only.
HOST = env("HOST", None, cast=False)
PORT = env("PORT", None, cast=False)

# The number of worker processes, 1 to 256: about one for each core. The default is 2.
PROCESSES = env("WEB_CONCURRENCY", None, cast=False)

# The number of threads in each process, 1 to 1024. The default is 8. At most half of them wait for keys at a time, so
# that the others can respond to requests whose keys are cached.
THREADS = env("WEB_THREADS", None, cast=False)

# The number of streamed responses that each process sends at a time, in threads of their own, 1 to 1024. The default
# is 8.
STREAMS = env("WEB_STREAMS", None, cast=False)

# The number of connections that each process holds, 16 to 65536. The default is 2048. At nine tenths of it, the
# connections that have been idle longest are closed.
MAX_CONNECTIONS = env("MAX_CONNECTIONS", None, cast=False)

# Seconds that an idle connection stays open, 1 to 3600. The default is 930: a gateway that reuses a connection which
# the server has just closed responds with 502, so this must be longer than the gateway keeps idle connections.
KEEP_ALIVE = env("KEEP_ALIVE", None, cast=False)

# Seconds, from the end of the headers, in which a request body must arrive, 1 to 3600. The default is 30.
BODY_TIMEOUT = env("BODY_TIMEOUT", None, cast=False)

# Seconds without progress after which a response is abandoned and its connection closed, 1 to 3600. The default is 30.
SEND_TIMEOUT = env("SEND_TIMEOUT", None, cast=False)

# Seconds, after TERM, in which responses carry `Connection: close` and /health/ready returns 503 `draining`, before the
# server stops accepting connections; 0 to 60. The default is 2.
SHUTDOWN_DRAIN = env("SHUTDOWN_DRAIN", None, cast=False)

# The folder for large request bodies, as files without a name. The default is the system's (TMPDIR).
UPLOAD_DIR = env("UPLOAD_DIR", None, cast=False)

# True: /health/ready also asks the database, for a second at most. The default is False. Needs DatabaseProvider.
READY_DATABASE = env("READY_DATABASE", None, cast=False)

# True: a request that loses its connection to the database gets 503 with Retry-After instead of 500. The default is
# False.
DATABASE_503 = env("DATABASE_503", None, cast=False)

# PEM files. With a certificate and its key, the server speaks https. With a client CA, it accepts only clients with a
# certificate of that CA; it does not check their names, so the CA must issue to your gateway alone. HUP reads the files
# again.
TLS_CERT = env("TLS_CERT", None, cast=False)
TLS_KEY = env("TLS_KEY", None, cast=False)
TLS_CLIENT_CA = env("TLS_CLIENT_CA", None, cast=False)

# A separate port for /health/* over http. Required with TLS_CLIENT_CA, because probes have no client certificate.
HEALTH_PORT = env("HEALTH_PORT", None, cast=False)

# The largest body of a request, in bytes, 0 to 536870912; the default is 1048576. A route has its own limit with
# `.middleware("body:20MB")`.
MAX_BODY_BYTES = env("MAX_BODY_BYTES", None, cast=False)

# The header in which `request.ip()` finds the caller's address: CF-Connecting-IP, or X-Forwarded-For (its last value).
# The default is the peer's address, which is the gateway's. Set it only if clients cannot reach this server directly.
CLIENT_IP_HEADER = env("CLIENT_IP_HEADER", None, cast=False)

# A secret of 32 characters or more that the gateway sends with every request, in the header `backend-secret` unless
# GATEWAY_SECRET_HEADER names another. Requests without it get 401, except /health/live and /health/ready. Two secrets,
# separated by a comma, are accepted while you replace one.
GATEWAY_SECRET = env("GATEWAY_SECRET", None, cast=False)
GATEWAY_SECRET_HEADER = env("GATEWAY_SECRET_HEADER", None, cast=False)
