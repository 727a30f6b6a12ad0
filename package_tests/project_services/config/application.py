"""The settings that the product reads from `config/` alone, and `HASHING`."""

from masonite.environment import env

NAME = env("APP_NAME", "", cast=False) or "Zuplo origin"
VERSION = "1.0.0"
ENV = env("APP_ENV", "", cast=False) or "production"
HASHING = {"default": "bcrypt", "bcrypt": {"rounds": 4}}
