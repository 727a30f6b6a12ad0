"""The application as ASGI, as the production server runs it."""

from wsgi import application as wsgi_application
from zuplo_origin.server.adapter import Adapter

_settings = wsgi_application.make("settings")

application = Adapter(wsgi_application, _settings.threads, _settings.body_seconds, lambda: False)
