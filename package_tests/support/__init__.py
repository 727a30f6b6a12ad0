"""What the tests share: an issuer that signs without python-jose, HTTP servers, and requests."""
