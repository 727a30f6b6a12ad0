"""Which tokens are let in, and where the keys come from that sign them.

The usual case, one issuer, is told through the environment. For issuers that differ in more than their name, write the
entries of ISSUERS by hand: every value may be a text as in the environment, or a list, or a mapping.
"""

from itertools import zip_longest

from masonite.environment import env


def _listed(name):
    return [value.strip() for value in env(name, "", cast=False).split(",") if value.strip()]


# What tokens may be signed with: out of EdDSA, and RS, PS and ES 256, 384 and 512. Zuplo signs EdDSA unless told
# otherwise.
ALGORITHMS = env("JWT_ALGORITHMS", "", cast=False) or "EdDSA,RS256,ES256,PS256"

# Who may sign: the exact `iss` of their tokens, several separated by commas. A Zuplo gateway's is
# https://<host>/__zuplo/issuer. In JWKS_URL, one for each, stands where its keys are: a URL, or `discovery`, which asks
# <issuer>/.well-known/openid-configuration. Where it is not set: <issuer>/.well-known/jwks.json.
#
# JWT_AUDIENCE: the accepted `aud` values. One that ends in /* is a prefix, for the gateway's policy writes the URL of
# the request by default. `*` alone says that the audience is not checked.
#
# JWT_REQUIRED_CLAIMS: claims that must hold exactly these values, as in account=acme,project=orders.
ISSUERS = [
    {
        "issuer": issuer,
        "jwks_url": url,
        "audience": env("JWT_AUDIENCE", "", cast=False),
        "algorithms": ALGORITHMS,
        "required_claims": env("JWT_REQUIRED_CLAIMS", "", cast=False),
    }
    for issuer, url in zip_longest(_listed("JWT_ISSUER") or [""], _listed("JWKS_URL"))
]

# Seconds of clock skew, for exp, nbf and iat alike: 0 to 300.
LEEWAY = env("JWT_LEEWAY", "", cast=False) or "30"

# Where the gateway puts the token. An empty scheme means a bare token; its case does not matter.
HEADER = env("JWT_HEADER", "", cast=False) or "Authorization"
SCHEME = env("JWT_SCHEME", "Bearer", cast=False)

# The realm in challenges: APP_NAME where it is not set.
REALM = env("JWT_REALM", "", cast=False)

# Verified tokens that each process remembers, 0 to 16384. A gateway that mints a token for each request has no use for
# it; one that sends a token again does.
CACHE_SIZE = env("JWT_CACHE_SIZE", "", cast=False) or "1024"

# Seconds that a fetched key set is fresh, 1 to 86400. It is renewed in the background before they are over.
JWKS_TTL = env("JWKS_TTL", "", cast=False) or "600"

# Seconds past that in which held keys go on serving while the issuer cannot be reached, 0 to 604800.
JWKS_MAX_STALE = env("JWKS_MAX_STALE", "", cast=False) or "3600"

# Seconds for one whole fetch, by the clock on the wall: connecting, every byte, and the one retry; 0.1 to 30.
JWKS_TIMEOUT = env("JWKS_TIMEOUT", "", cast=False) or "5"

# Seconds in which tokens with an unknown key id cause two fetches at the most, 1 to 3600.
JWKS_COOLDOWN = env("JWKS_COOLDOWN", "", cast=False) or "30"

# Bytes of a key set, after which it is refused, 1024 to 1048576.
JWKS_MAX_BYTES = env("JWKS_MAX_BYTES", "", cast=False) or "65536"

# Where processes share key sets: `memory`, nowhere; `file`, those of one machine, in storage/; or the URL of a Redis
# server, redis://… or rediss://…, those of a fleet. APP_KEY tells what lies there from what anybody else put there.
JWKS_STORE = env("JWKS_STORE", "", cast=False) or "memory"
