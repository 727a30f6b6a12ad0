"""``craft openapi:write``."""

import json
from pathlib import Path

from .base import PlainCommand


class OpenApiWriteCommand(PlainCommand):
    """
    Write the API description (OpenAPI 3.1) that GET /openapi.json returns

    openapi:write
        {file : The file to write, or - for standard output}
    """

    def handle(self) -> int:
        text = json.dumps(self.app.make("openapi").document(), ensure_ascii=False, indent=2) + "\n"
        if self.argument("file") == "-":
            print(text, end="")
            return 0
        try:
            Path(self.argument("file")).write_text(text, encoding="utf-8")
        except OSError as error:
            self.fail(f"cannot write {self.argument('file')}: {error.strerror}")
            return 2
        return 0
