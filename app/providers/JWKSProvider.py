"""Binds the client that fetches and holds the issuers' keys."""

from app.foundation.Provider import Provider
from app.jwks.KeySets import KeySets
from app.jwks.RemoteKeySet import RemoteKeySet
from app.jwks.Source import Source
from app.jwks.WaitingRoom import WaitingRoom


class JWKSProvider(Provider):
    """Binds ``jwks``: a ``RemoteKeySet`` for each issuer. In a server, the first fetch begins here.

    Binds ``waiting_room`` too: half of the threads, for whoever waits for a key, or for a request's body.
    """

    def register(self) -> None:
        if not self.application.has("settings"):
            return
        settings = self.application.make("settings")
        room = WaitingRoom(max(1, settings.threads // 2))  # a single thread has to wait itself
        key_sets = KeySets(
            RemoteKeySet(
                issuer.name,
                Source(issuer.name, issuer.jwks_url, settings.jwks.timeout, settings.jwks_max_bytes).fetch,
                issuer.algorithms,
                settings.jwks,
                room,
            )
            for issuer in settings.issuers
        )
        self.application.bind("waiting_room", room)
        self.application.bind("jwks", key_sets)
        if not self.application.is_running_in_console():
            key_sets.start()
