"""Shared parts of the tests: an issuer that signs without python-jose, servers, applications and requests."""
