"""The application itself. Defaults and checks of all settings are in `zuplo_origin/settings.py`."""

from masonite.environment import env

# The name in challenges (the realm, unless JWT_REALM is set) and in the API description.
NAME = env("APP_NAME", "", cast=False) or "Zuplo origin"

# The version of your API, in its description.
VERSION = "1.0.0"

# What clients call this API, as in https://api.example.com. If it is set, clients find the issuers of its tokens at
# /.well-known/oauth-protected-resource (RFC 9728), and challenges contain that URL.
PUBLIC_URL = env("PUBLIC_URL", None, cast=False)

# local, testing or production. `python craft serve` makes it local if neither APP_ENV nor JWT_ISSUER is set.
ENV = env("APP_ENV", "", cast=False) or "production"

# A secret of 32 bytes or more, the same for all processes that share a JWKS_STORE.
KEY = env("APP_KEY", None, cast=False)

# A problem in production. Error responses never contain an exception; the log does.
DEBUG = env("APP_DEBUG", None, cast=False)
