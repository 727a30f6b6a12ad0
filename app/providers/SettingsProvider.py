"""Binds the settings, checked."""

import sys

from app.foundation.Provider import Provider
from app.settings.Settings import BadSettings, read_settings

CANNOT_START = 3
"""The exit status at which gunicorn ends, too: at another one it would start workers for ever."""


class SettingsProvider(Provider):
    """Binds ``settings``. In a server, contradictions among them end the process here, before it answers anyone.

    A ``craft`` command asks for them itself, where it needs them: some need none.
    """

    def register(self) -> None:
        try:
            self.application.bind("settings", read_settings(self.application.make("config")))
        except BadSettings as bad:
            if not self.application.is_running_in_console():
                print(bad, file=sys.stderr)
                raise SystemExit(CANNOT_START) from None
            self.application.bind("settings.problems", str(bad))
