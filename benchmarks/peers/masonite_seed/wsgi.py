"""The published example for Masonite, with the fewest changes that make it run.

python-jose has no ``jwt.algorithms``, so the JWK itself is handed to it; ``before`` returns the request; the audience
is not checked; the issuer comes from the environment. Two providers instead of the skeleton's 25.
"""

from masonite.foundation import Application, Kernel
from masonite.utils.location import base_path

from config.providers import PROVIDERS
from Kernel import Kernel as ApplicationKernel

application = Application(base_path())
application.register_providers(Kernel, ApplicationKernel)
application.add_providers(*PROVIDERS)
