"""An origin backend for an API gateway: it verifies the gateway's tokens, and makes Masonite safe to do so."""

__version__ = "0.2.0"
