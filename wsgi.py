"""The WSGI application: `wsgi:application` for any server (PEP 3333)."""

from pathlib import Path

from app.foundation.Application import Application
from app.foundation.FrameworkKernel import FrameworkKernel
from config.providers import PROVIDERS
from Kernel import Kernel

application = Application(str(Path(__file__).resolve().parent))

application.register_providers(FrameworkKernel, Kernel)

application.add_providers(*PROVIDERS)
