"""Cross-origin requests, as in Masonite."""

CORS = {
    "paths": ["protected", "limited/*", "missing"],
    "allowed_methods": ["*"],
    "allowed_origins": ["https://app.example", "https://admin.example"],
    "allowed_headers": ["*"],
    "exposed_headers": ["X-RateLimit-Remaining"],
    "max_age": 600,
    "supports_credentials": False,
}
