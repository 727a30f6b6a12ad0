"""Which tokens are accepted, and where the keys of their issuers are."""

from masonite.environment import env

# The exact `iss` of the tokens; several issuers are separated by commas. A Zuplo gateway's issuer is
# https://<host>/__zuplo/issuer.
ISSUER = env("JWT_ISSUER", None, cast=False)

# Where the keys are, one URL for each issuer. `discovery` reads it from <issuer>/.well-known/openid-configuration.
# The default is <issuer>/.well-known/jwks.json.
JWKS_URL = env("JWKS_URL", None, cast=False)

# The accepted `aud` values, separated by commas. A value that ends in /* is a prefix: by default, the gateway's policy
# writes the URL of the request. `*` alone means that the audience is not checked.
AUDIENCE = env("JWT_AUDIENCE", None, cast=False)

# Claims that must have exactly these values, as in account=acme,project=orders.
REQUIRED_CLAIMS = env("JWT_REQUIRED_CLAIMS", None, cast=False)

# The accepted signature algorithms: EdDSA, and RS, PS and ES 256, 384 and 512. Zuplo signs with EdDSA by default.
ALGORITHMS = env("JWT_ALGORITHMS", None, cast=False)

# Issuers that differ in more than their names and URLs: a dict for each, with `issuer` and, as needed, `jwks_url`,
# `audience`, `algorithms` and `required_claims`. They replace JWT_ISSUER and JWKS_URL; what a dict leaves out is taken
# from the settings above.
ISSUERS = []

# Seconds of clock skew for `exp`, `nbf` and `iat`, 0 to 300.
LEEWAY = env("JWT_LEEWAY", None, cast=False)

# Where the gateway puts the token. An empty scheme means a bare token; upper and lower case are equal.
HEADER = env("JWT_HEADER", None, cast=False)
SCHEME = env("JWT_SCHEME", None, cast=False)

# The realm in challenges. The default is APP_NAME.
REALM = env("JWT_REALM", None, cast=False)

# Verified tokens that each process keeps, 0 to 16384. They help if the gateway sends a token more than once.
CACHE_SIZE = env("JWT_CACHE_SIZE", None, cast=False)

# Seconds that a fetched key set is fresh, 1 to 86400. It is refreshed in the background before that.
JWKS_TTL = env("JWKS_TTL", None, cast=False)

# Seconds beyond that in which cached keys still serve while refreshing fails, 0 to 604800.
JWKS_MAX_STALE = env("JWKS_MAX_STALE", None, cast=False)

# Seconds for one whole fetch, its retry included, 0.1 to 30.
JWKS_TIMEOUT = env("JWKS_TIMEOUT", None, cast=False)

# Seconds in which tokens with an unknown key id cause two fetches at most, 1 to 3600.
JWKS_COOLDOWN = env("JWKS_COOLDOWN", None, cast=False)

# The largest key set that is accepted, in bytes, 1024 to 1048576.
JWKS_MAX_BYTES = env("JWKS_MAX_BYTES", None, cast=False)

# Where processes share key sets: `memory` (nowhere), `file` (the processes of one machine, in storage/), or the URL of
# a Redis server, redis://… or rediss://…. With APP_KEY, entries that others wrote are recognised and rejected.
JWKS_STORE = env("JWKS_STORE", None, cast=False)
