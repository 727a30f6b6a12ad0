"""The stores of the cache. A test chooses the default."""

import os

STORES = {
    "default": os.environ.get("CACHE_STORE", "local"),
    "local": {"driver": "file", "location": os.environ.get("CACHE_LOCATION", "storage/framework/cache")},
    "redis": {"driver": "redis", "host": "127.0.0.1", "port": os.environ.get("REDIS_PORT", "6379"), "name": "orders"},
}
