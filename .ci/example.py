"""Copy to ``examples/orders`` the files that ``new`` writes and the example does not change: ``python .ci/example.py``.

Run it after a change of this repository's files at the top: ``package_tests/test_example_orders.py`` compares them.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from zuplo_origin.dev import new  # noqa: E402

EXAMPLE = ROOT / "examples/orders"
NAME = "Orders"
CHANGED = {
    ".env-example": "has the secret of the payment service",
    "Kernel.py": "registers the middleware of webhooks",
    "README.md": "describes the example",
    "app/controllers/ProtectedController.py": "is removed: it is a sample to copy",
    "databases/seeds/database_seeder.py": "has orders",
    "routes/web.py": "has the routes of the example",
    "tests/conftest.py": "sets the secret of the payment service",
    "tests/test_protected.py": "is removed with the controller that it tests",
}
"""Files that the example has otherwise, or not at all, to the reason."""


def main() -> None:
    for name, text in new.files(NAME, "sqlite").items():
        if name not in CHANGED:
            (EXAMPLE / name).parent.mkdir(parents=True, exist_ok=True)
            (EXAMPLE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
