"""The providers: those of the product, and one for each service."""

from app.providers.ServicesProvider import ServicesProvider
from masonite.validation.providers import ValidationProvider

from app.providers import PROVIDERS as OWN
from zuplo_origin.services import (
    AuthorizationProvider,
    CacheProvider,
    EncryptionProvider,
    EventProvider,
    HashServiceProvider,
    HelpersProvider,
    LoggingProvider,
    RateProvider,
)

PROVIDERS = [
    *OWN,
    AuthorizationProvider,
    CacheProvider,
    EncryptionProvider,
    EventProvider,
    HashServiceProvider,
    HelpersProvider,
    LoggingProvider,
    RateProvider,
    ValidationProvider,
    ServicesProvider,
]
