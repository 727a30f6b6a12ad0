"""The providers, in the order in which they bind their services."""

from app.providers import PROVIDERS

__all__ = ["PROVIDERS"]
