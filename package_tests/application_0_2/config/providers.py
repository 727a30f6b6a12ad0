"""The providers, in the order of their registration: each may use the services of those above it."""

from app.providers.ExceptionProvider import ExceptionProvider
from app.providers.JWKSProvider import JWKSProvider
from app.providers.JWTProvider import JWTProvider
from app.providers.ObservabilityProvider import ObservabilityProvider
from app.providers.OpenApiProvider import OpenApiProvider
from app.providers.RouteProvider import RouteProvider
from app.providers.SettingsProvider import SettingsProvider
from zuplo_origin.services import DatabaseProvider

PROVIDERS = [
    ExceptionProvider,
    SettingsProvider,
    ObservabilityProvider,
    DatabaseProvider,
    JWKSProvider,
    JWTProvider,
    OpenApiProvider,
    RouteProvider,
]
