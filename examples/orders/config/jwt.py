"""The tokens that are accepted, and the key sets of their issuers."""

from masonite.environment import env

# The exact `iss` of the tokens; several issuers are separated by commas. The issuer of a Zuplo gateway is
# https://<host>/__zuplo/issuer. One that is not an https URL needs its JWKS_URL.
ISSUER = env("JWT_ISSUER", None, cast=False)

# The URL of the key set; one for each issuer, separated by commas. The default is <issuer>/.well-known/jwks.json.
# `discovery` reads the URL from <issuer>/.well-known/openid-configuration.
JWKS_URL = env("JWKS_URL", None, cast=False)

# The accepted `aud` values, separated by commas. A value that ends in /* is a prefix: by default, Zuplo's policy sets
# `aud` to the URL of the request. `*` alone disables the check. Required.
AUDIENCE = env("JWT_AUDIENCE", None, cast=False)

# Claims that tokens must have: `account=acme` (this string, or a list with it), `role=admin|owner` (one of them), `sub`
# (any value), `email_verified:=true` (this JSON value), separated by commas.
REQUIRED_CLAIMS = env("JWT_REQUIRED_CLAIMS", None, cast=False)

# Where scopes are looked up: claims with a string of scopes separated by spaces, or a list; a dotted path reaches into
# a claim, as in realm_access.roles. The default is scope,scp.
SCOPE_CLAIMS = env("JWT_SCOPE_CLAIMS", None, cast=False)

# The accepted signature algorithms: EdDSA, and RS, PS and ES with 256, 384 and 512. The default is
# EdDSA,RS256,ES256,PS256. Zuplo signs with EdDSA by default.
ALGORITHMS = env("JWT_ALGORITHMS", None, cast=False)

# Issuers that differ in more than their names and URLs: one dict for each, with `issuer` and optionally `jwks_url`,
# `audience`, `algorithms` and `required_claims`. They replace JWT_ISSUER and JWKS_URL. The settings above are the
# defaults of what a dict leaves out.
ISSUERS = []

# The length of the longest token that is accepted, 1024 to 24576. The default is 8192. Tokens of Entra with many groups
# are longer.
MAX_BYTES = env("JWT_MAX_BYTES", None, cast=False)

# Seconds of clock skew for `exp`, `nbf` and `iat`, 0 to 300. The default is 30.
LEEWAY = env("JWT_LEEWAY", None, cast=False)

# The header with the token, and its scheme. The default is `Authorization: Bearer <token>`. An empty scheme means that
# the header contains the token alone. Both are case-insensitive.
HEADER = env("JWT_HEADER", None, cast=False)
SCHEME = env("JWT_SCHEME", None, cast=False)

# The realm in challenges. The default is APP_NAME.
REALM = env("JWT_REALM", None, cast=False)

# The number of verified tokens that each process caches, 0 to 16384. The default is 1024. The cache saves time if the
# gateway sends the same token more than once.
CACHE_SIZE = env("JWT_CACHE_SIZE", None, cast=False)

# Seconds that a fetched key set is fresh, 1 to 86400. The default is 600. The client refreshes it in the background
# after 80 % of this time.
JWKS_TTL = env("JWKS_TTL", None, cast=False)

# Seconds beyond JWKS_TTL that a cached key set is used while its refresh fails, 0 to 604800. The default is 3600.
JWKS_MAX_STALE = env("JWKS_MAX_STALE", None, cast=False)

# Seconds for one fetch, its retry included, 0.1 to 30. The default is 5.
JWKS_TIMEOUT = env("JWKS_TIMEOUT", None, cast=False)

# Seconds in which tokens with an unknown key id, or with a bad signature under a known one, cause two fetches at most,
# 1 to 3600. The default is 10.
JWKS_COOLDOWN = env("JWKS_COOLDOWN", None, cast=False)

# The size of the largest key set that is accepted, in bytes, 1024 to 1048576. The default is 262144.
JWKS_MAX_BYTES = env("JWKS_MAX_BYTES", None, cast=False)

# How processes share key sets. `memory`: not at all (the default). `file`: in storage/, on one machine. A URL such as
# redis://host:6379/0, or rediss:// for TLS: in Redis. Entries are signed with APP_KEY, and rejected if another key
# signed them.
JWKS_STORE = env("JWKS_STORE", None, cast=False)
