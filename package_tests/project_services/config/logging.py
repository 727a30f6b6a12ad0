"""The channels of the log, as in Masonite."""

CHANNELS = {
    "default": {"driver": "console", "level": "info"},
    "console": {"driver": "terminal"},
    "audit": {"driver": "daily", "path": "logs", "level": "warning"},
}
