"""The providers, in the order in which they bind their services."""

from app.providers.ExceptionProvider import ExceptionProvider
from app.providers.JWKSProvider import JWKSProvider
from app.providers.JWTProvider import JWTProvider
from app.providers.OpenApiProvider import OpenApiProvider
from app.providers.ResourceMetadataProvider import ResourceMetadataProvider
from app.providers.SettingsProvider import SettingsProvider
from app.providers.TelemetryProvider import TelemetryProvider

PROVIDERS = [
    ExceptionProvider,
    SettingsProvider,
    TelemetryProvider,
    JWKSProvider,
    JWTProvider,
    OpenApiProvider,
    ResourceMetadataProvider,
]
