"""Binds the client that fetches and caches the key sets of the issuers."""

from zuplo_origin.factory import make_key_sets
from zuplo_origin.http.kernel import Provider


class JWKSProvider(Provider):
    """Binds `jwks`. A server starts the first fetch here."""

    def register(self) -> None:
        if not self.application.has("settings"):
            return
        metrics = self.application.make("metrics") if self.application.has("metrics") else None
        settings, storage = self.application.make("settings"), self.application.get_storage_path()
        key_sets = make_key_sets(settings, storage, metrics)
        self.application.bind("jwks", key_sets)
        if not self.application.is_running_in_console():
            key_sets.start()
