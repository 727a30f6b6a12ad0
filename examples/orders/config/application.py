"""The application. Default and range of each setting are in `zuplo_origin/settings.py`."""

from masonite.environment import env

# The name of the API: in its description, and as realm in challenges unless JWT_REALM is set.
NAME = env("APP_NAME", "", cast=False) or "Orders"

# The version of the API, in its description.
VERSION = "1.0.0"

# The URL that clients call, such as https://api.example.com. If it is set, /.well-known/oauth-protected-resource lists
# the issuers of tokens for this API (RFC 9728), and challenges contain its URL.
PUBLIC_URL = env("PUBLIC_URL", None, cast=False)

# local, testing or production. `python craft serve` uses local if neither APP_ENV nor JWT_ISSUER is set.
ENV = env("APP_ENV", "", cast=False) or "production"

# A secret of 32 bytes or more, the same for all processes. Required if JWKS_STORE is not `memory`, and by the services
# that encrypt or sign: encrypted cookies, `Crypt`, jobs in a table.
KEY = env("APP_KEY", None, cast=False)

# True or False; invalid as True in production. Error responses never contain an exception; the log does.
DEBUG = env("APP_DEBUG", None, cast=False)
