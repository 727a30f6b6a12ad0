"""Binds the client that fetches and holds the issuers' keys."""

from collections.abc import Callable
from pathlib import Path

from app.foundation.Provider import Provider
from app.jwks.fetch import Document
from app.jwks.FileStore import FileStore
from app.jwks.KeySet import KeySet
from app.jwks.KeySets import KeySets
from app.jwks.Observer import Observer
from app.jwks.RemoteKeySet import RemoteKeySet
from app.jwks.Seal import Seal
from app.jwks.SharedKeys import SharedKeys
from app.jwks.Source import Source
from app.jwks.Store import BoundedStore
from app.jwks.WaitingRoom import WaitingRoom
from app.settings.IssuerSettings import IssuerSettings
from app.settings.Settings import Settings


class JWKSProvider(Provider):
    """Binds ``jwks``: a ``RemoteKeySet`` for each issuer. In a server, the first fetch begins here, of the issuer or of
    what other processes share.

    At most half of the threads wait for a key.
    """

    def register(self) -> None:
        if not self.application.has("settings"):
            return
        settings = self.application.make("settings")
        room = WaitingRoom(max(1, settings.threads // 2))  # a single thread has to wait itself
        store = self._store(settings)
        observer = self.application.make("metrics") if self.application.has("metrics") else Observer()
        key_sets = KeySets(
            RemoteKeySet(
                issuer.name,
                _fetch(issuer, settings, store),
                issuer.algorithms,
                settings.jwks,
                room,
                observer=observer,
            )
            for issuer in settings.issuers
        )
        self.application.bind("jwks", key_sets)
        if not self.application.is_running_in_console():
            key_sets.start()

    def _store(self, settings: Settings) -> BoundedStore | None:
        if settings.jwks_store == "memory":
            return None
        if settings.jwks_store == "file":
            return BoundedStore(FileStore(Path(self.application.get_storage_path()) / "jwks"))
        from app.jwks.RedisStore import RedisStore  # a client that nobody else needs in memory

        return BoundedStore(RedisStore(settings.jwks_store))


def _fetch(
    issuer: IssuerSettings, settings: Settings, store: BoundedStore | None
) -> Callable[[str | None, Callable[[KeySet], bool] | None], Document]:
    source = Source(issuer.name, issuer.jwks_url, settings.jwks.timeout, settings.jwks_max_bytes)
    if store is None:
        return source.fetch
    return SharedKeys(source, issuer.algorithms, settings.jwks, store, Seal(settings.key)).fetch
