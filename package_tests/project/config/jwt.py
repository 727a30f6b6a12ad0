"""The settings of tokens. The product reads the others from the environment."""

from masonite.environment import env

ALGORITHMS = env("JWT_ALGORITHMS", None, cast=False)  # `craft serve` reads it here alone
