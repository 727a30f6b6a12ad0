"""How bytes become values: base64url and JSON, both stricter than Python's own, and free of any framework."""
