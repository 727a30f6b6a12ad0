"""The WSGI application: `wsgi:application`, for any WSGI server (PEP 3333)."""

from pathlib import Path

from config.providers import PROVIDERS
from Kernel import Kernel
from zuplo_origin.http.application import Application
from zuplo_origin.http.kernel import FrameworkKernel

application = Application(str(Path(__file__).resolve().parent))
application.register_providers(FrameworkKernel, Kernel)
application.add_providers(*PROVIDERS)
