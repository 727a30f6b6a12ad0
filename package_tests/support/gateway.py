"""The issuer that `project_application` trusts."""

from .issuer import Issuer

GATEWAY = Issuer()
