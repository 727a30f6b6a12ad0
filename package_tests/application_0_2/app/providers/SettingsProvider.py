"""Binds the settings."""

from zuplo_origin.factory import make_settings
from zuplo_origin.http.kernel import Provider
from zuplo_origin.settings import BadSettings, read_settings


class SettingsProvider(Provider):
    """Binds `settings`. A server with an invalid setting exits here.

    A craft command that needs settings reports invalid ones itself.
    """

    def register(self) -> None:
        config = self.application.make("config")
        if not self.application.is_running_in_console():
            self.application.bind("settings", make_settings(config))
            return
        try:
            self.application.bind("settings", read_settings(config))
        except BadSettings as bad:
            self.application.bind("settings.problems", str(bad))
