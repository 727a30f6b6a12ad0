"""One production server for all attacks, in an environment whose variables look like request headers."""

import pytest

from package_tests.support.controllers import Controller, serving, wait_until
from package_tests.support.signing import ALGORITHMS

ATTACKED = Controller(
    "AttackedController",
    """
from masonite.controllers import Controller
from masonite.request import Request


class AttackedController(Controller):
    def environ(self, request: Request):
        return {name: str(value) for name, value in request.environ.items()}

    def part(self, request: Request, part):
        return {"part": part, "path": request.get_path()}

    def value(self, request: Request):
        return {"value": request.header("X-Value")}

    def echo(self, request: Request):
        return {"fields": request.all(), "size": len(request.body())}

    def marker(self):
        return {"marker": "smuggled"}
""",
    """[
    Route.get("/environ", AttackedController.environ).middleware("public"),
    Route.get("/parts/@part", AttackedController.part).middleware("public"),
    Route.get("/files/@part:any", AttackedController.part).middleware("public"),
    Route.get("/value", AttackedController.value).middleware("public"),
    Route.post("/echo", AttackedController.echo).middleware("public"),
    Route.get("/smuggled", AttackedController.marker).middleware("public"),
    Route.get("/scoped", AttackedController.value).middleware("jwt:read:orders"),
]""",
)
ENVIRONMENT = {
    "HTTP_PROXY": "http://user:secret-of-the-proxy@127.0.0.1:9",
    "HTTP_AUTHORIZATION": "Bearer of-the-environment",
    "HTTP_X_VALUE": "of-the-environment",
    "CONTENT_LENGTH": "5",
    "CONTENT_TYPE": "text/of-the-environment",
    "REMOTE_USER": "of-the-environment",
    "APP_KEY": "secret-of-the-application-0123456789",
}
"""Variables of the server's process. None of them may be read in a request."""


@pytest.fixture(scope="session")
def attacked(tmp_path_factory):
    """Yield the server and its issuer. No process of it can import `ecdsa`, which python-jose installs."""
    folder = tmp_path_factory.mktemp("attacked")
    settings = {"WEB_CONCURRENCY": "1", "JWT_ALGORITHMS": ",".join(ALGORITHMS), "BODY_TIMEOUT": "5"}
    with serving(ATTACKED, folder, without=["ecdsa"], **settings, **ENVIRONMENT) as (server, _, issuer):
        wait_until(lambda: server.get("/health/ready")[0] == 200)
        yield server, issuer


@pytest.fixture
def server(attacked):
    """Yield the server; after the test, it still responds, and has logged no unhandled exception."""
    yield attacked[0]
    assert attacked[0].get("/health/live")[0] == 200
    output = attacked[0].output()
    assert "unhandled_exception" not in output and "Traceback" not in output and "worker_died" not in output


@pytest.fixture
def issuer(attacked):
    return attacked[1]
