"""The application. Every other setting is a variable of the environment: see docs/settings.md of the origin."""

from masonite.environment import env

# The name and the version of the API, in its description.
NAME = "Orders"
VERSION = "1.0.0"

# local, testing or production. `python craft serve` uses local if neither APP_ENV nor JWT_ISSUER is set.
ENV = env("APP_ENV", "", cast=False) or "production"
