"""The application itself."""

from masonite.environment import env

# The name that stands in challenges, as the realm, unless JWT_REALM says otherwise.
NAME = env("APP_NAME", "", cast=False) or "Zuplo origin"

# The version of the API, in its description.
VERSION = "1.0.0"

# What clients call this API, as in https://api.example.com: where it is set, they find at
# /.well-known/oauth-protected-resource who issues tokens for it (RFC 9728), and challenges say so.
PUBLIC_URL = env("PUBLIC_URL", "", cast=False)

# local, testing or production. Where nothing is said it is production, so that nobody runs development by oversight;
# `python craft` makes it local where neither APP_ENV nor JWT_ISSUER is set.
ENV = env("APP_ENV", "", cast=False) or "production"

# A secret of 32 bytes or more, the same for all processes that share a JWKS_STORE, which alone needs it.
KEY = env("APP_KEY", "", cast=False)

# Never on in production, and of no effect elsewhere: errors are told to the log, not to clients.
DEBUG = env("APP_DEBUG", "", cast=False) or "False"
