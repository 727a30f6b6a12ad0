"""Binds the settings, checked."""

from app.foundation.Provider import Provider
from app.settings.Settings import BadSettings, read_settings


class SettingsProvider(Provider):
    """Binds ``settings``. In a server, contradictions among them end the process here, before it answers anyone.

    A ``craft`` command asks for them itself, where it needs them: some need none.
    """

    def register(self) -> None:
        try:
            self.application.bind("settings", read_settings(self.application.make("config")))
        except BadSettings as bad:
            if not self.application.is_running_in_console():
                raise SystemExit(str(bad)) from None
            self.application.bind("settings.problems", str(bad))
