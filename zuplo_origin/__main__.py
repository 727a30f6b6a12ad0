"""``python -m zuplo_origin``: create an application, and examine one."""

import importlib.util
import sys


def main() -> int:
    """Run the command in ``sys.argv``, and return its exit status."""
    if importlib.util.find_spec("zuplo_origin.dev") is None:
        print("zuplo_origin: the production image has no development commands", file=sys.stderr)
        return 2
    from zuplo_origin.dev.main import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
