"""Masonite's ``Log`` through the application's own log."""

import logging
from collections.abc import Iterator
from typing import Any

from masonite.exceptions import InvalidConfigurationSetup

from zuplo_origin.http.kernel import Provider

from .start import configured, stop

LEVELS = {
    "debug": 10,
    "info": 20,
    "notice": 25,
    "warning": 30,
    "error": 40,
    "critical": 50,
    "alert": 60,
    "emergency": 70,
}


class Channel:
    """Writes to loggers of the standard library, whose level is the minimum of a channel."""

    def __init__(self, *loggers: logging.Logger) -> None:
        self._loggers = loggers

    def log(self, level: str, message: Any) -> None:
        for logger in self._loggers:
            logger.log(LEVELS[level], "%s", message)

    def debug(self, message: Any) -> None:
        self.log("debug", message)

    def info(self, message: Any) -> None:
        self.log("info", message)

    def notice(self, message: Any) -> None:
        self.log("notice", message)

    def warning(self, message: Any) -> None:
        self.log("warning", message)

    def error(self, message: Any) -> None:
        self.log("error", message)

    def critical(self, message: Any) -> None:
        self.log("critical", message)

    def alert(self, message: Any) -> None:
        self.log("alert", message)

    def emergency(self, message: Any) -> None:
        self.log("emergency", message)


class Logger(Channel):
    """Masonite's ``Logger``: every channel writes to the log of the application, as the logger ``app.<channel>``.

    A channel's ``level`` is respected. Its driver, path and format are not: one line has one JSON object, and standard
    error is the only destination, so that no process rotates a file that another one writes.
    """

    def __init__(self, channels: Any) -> None:
        super().__init__(logging.getLogger("app"))
        self._channels: dict[str, Any] = dict(channels or {})
        self._accepts_any = not self._channels
        default = self._channels.get("default", {}).get("level")
        for name, level in (("NOTICE", 25), ("ALERT", 60), ("EMERGENCY", 70)):
            logging.addLevelName(level, name)
        logging.getLogger("app").setLevel(_level(default))
        for name, options in self._channels.items():
            if name != "default":
                logging.getLogger(f"app.{name}").setLevel(_level(options.get("level") or default))

    def channel(self, name: str) -> Channel:
        """Return a channel of ``config/logging.py``. Without that file, any name is one.

        Raises Masonite's ``InvalidConfigurationSetup`` if the file has no channel ``name``.
        """
        if self._accepts_any:
            return Channel(logging.getLogger("app" if name == "default" else f"app.{name}"))
        if name not in self._channels:
            raise InvalidConfigurationSetup(f"No config for channel '{name}' in config/logging.py !")
        options = self._channels[name]
        if options.get("driver") == "stack":
            return self.stack(*options.get("channels", []))
        return Channel(logging.getLogger("app" if name == "default" else f"app.{name}"))

    def stack(self, *names: str) -> Channel:
        """Return one channel for several. All write to the same log, so that each message is written once."""
        return self.channel(names[0]) if names else Channel(logging.getLogger("app"))

    def build(self, driver: str, options: Any = None) -> Channel:
        return Channel(logging.getLogger("app"))


def _level(name: Any) -> int:
    return LEVELS.get(str(name or "info").lower(), logging.INFO)


def problems_of(channels: Any) -> Iterator[str]:
    """Yield a sentence for each fault of ``CHANNELS`` in ``config/logging.py``."""
    place = "config/logging.py"
    if not isinstance(channels, dict):
        yield f"{place}: CHANNELS: invalid value {str(channels)[:80]!r}; expected a dict of channels"
        return
    for name, options in channels.items():
        if not isinstance(options, dict):
            yield f"{place}: {name}: invalid value {str(options)[:80]!r}; expected a dict such as {{'level': 'info'}}"
            continue
        level = options.get("level")
        if level is not None and str(level).lower() not in LEVELS:
            yield f"{place}: {name}: level: invalid value {str(level)[:80]!r}; expected one of {', '.join(LEVELS)}"
        for each in options.get("channels") or [] if options.get("driver") == "stack" else []:
            if each not in channels:
                yield f"{place}: {name}: channels: there is no channel {each!r}"


class LoggingProvider(Provider):
    """Binds ``logger``. Unhandled exceptions are logged without it."""

    def register(self) -> None:
        channels = configured(self.application, "logging.channels")
        stop(problems_of(channels if channels is not None else {}))
        self.application.bind("logger", Logger(channels))
