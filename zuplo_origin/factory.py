"""Build the objects that the providers in ``app/providers`` bind, from the settings."""

import sys
from pathlib import Path
from typing import Any

from zuplo_origin.guard import Guard
from zuplo_origin.http.requests import environ_key
from zuplo_origin.jwks.algorithms import names_of
from zuplo_origin.jwks.client import RemoteKeySet
from zuplo_origin.jwks.development import ProductionSource
from zuplo_origin.jwks.fetch import Source
from zuplo_origin.jwks.key_sets import KeySets
from zuplo_origin.jwks.observer import KeyObserver
from zuplo_origin.jwks.shared import SharedKeys
from zuplo_origin.jwks.stores import BoundedStore, FileStore
from zuplo_origin.jwt.verifier import Issuer, TokenObserver, TokenVerifier
from zuplo_origin.openapi.description import Description
from zuplo_origin.settings import CANNOT_START, BadSettings, IssuerSettings, Settings, read_settings
from zuplo_origin.waiting import Waiters


def make_settings(config: Any) -> Settings:
    """Return the settings. If any is invalid, print a message for each and exit."""
    try:
        return read_settings(config)
    except BadSettings as bad:
        print(bad, file=sys.stderr)
        raise SystemExit(CANNOT_START) from None


def make_key_sets(settings: Settings, storage: str, observer: KeyObserver | None = None) -> KeySets:
    """Return a cached key set for each issuer. ``storage`` is the folder of a ``JWKS_STORE`` of files.

    As many threads as half of ``WEB_THREADS`` wait for fetches, beside those that serve other requests.
    """
    waiters = Waiters(max(1, settings.threads // 2))
    shared = make_shared_keys(settings, storage)
    key_sets = []
    for issuer in settings.issuers:
        source = shared.get(issuer.name) or make_source(settings, issuer)
        fetch: Any = source.fetch
        key_sets.append(RemoteKeySet(issuer.name, fetch, issuer.algorithms, settings.jwks, waiters, observer=observer))
    return KeySets(key_sets)


def make_shared_keys(settings: Settings, storage: str) -> dict[str, SharedKeys]:
    """Return the shared key set of each issuer; nothing if processes do not share them."""
    store = _make_store(settings, storage)
    if store is None:
        return {}
    return {
        issuer.name: SharedKeys(make_source(settings, issuer), issuer.algorithms, settings.jwks, store, settings.key)
        for issuer in settings.issuers
    }


def make_source(settings: Settings, issuer: IssuerSettings) -> Source:
    """Return where the key set of ``issuer`` comes from."""
    kind = ProductionSource if settings.environment == "production" else Source
    return kind(issuer.name, issuer.jwks_url, settings.jwks.timeout, settings.jwks_max_bytes)


def _make_store(settings: Settings, storage: str) -> BoundedStore | None:
    if settings.jwks_store == "memory":
        return None
    if settings.jwks_store == "file":
        return BoundedStore(FileStore(Path(storage) / "jwks"))
    from zuplo_origin.jwks.redis_store import RedisStore

    return BoundedStore(RedisStore(settings.jwks_store))


def make_guard(settings: Settings, keys: KeySets, observer: TokenObserver | None = None) -> Guard:
    """Return the guard, with a verifier over ``keys``."""
    issuers = [
        Issuer(
            issuer.name,
            frozenset(name for algorithm in issuer.algorithms for name in names_of(algorithm)),
            issuer.audiences,
            issuer.required_claims,
            settings.leeway,
            keys[issuer.name],
        )
        for issuer in settings.issuers
    ]
    verifier = TokenVerifier(
        issuers, cache_size=settings.cache_size, observer=observer, max_length=settings.max_token_length
    )
    header = environ_key(settings.header)
    metadata, scopes = settings.resource_metadata, settings.scope_claims
    return Guard(verifier, header, settings.scheme, settings.realm, metadata, scopes)


def make_description(config: Any, router: Any, settings: Settings | None) -> Description:
    """Return the API description. Without settings, as in some commands, it names the default header and scheme."""
    header, scheme = (settings.header, settings.scheme) if settings else ("Authorization", "Bearer")
    public_url = settings.public_url if settings else None
    name, version = config.get("application.name"), config.get("application.version")
    return Description(router, name, version, header, scheme, public_url)
