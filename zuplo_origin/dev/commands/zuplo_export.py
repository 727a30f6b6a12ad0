"""``craft zuplo:export``."""

import difflib
from pathlib import Path

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.zuplo import ZuploProject, slug


class ZuploExportCommand(PlainCommand):
    """
    Write a Zuplo project whose routes are the guarded ones of this origin

    zuplo:export
        {directory : Where to write it}
        {--f|force : Overwrite files that were edited}
        {--g|grant-scopes : Let the gateway grant each caller the scopes that a route asks for}
    """

    def handle(self) -> int:
        folder = Path(self.argument("directory"))
        if not self.argument("directory") or folder.resolve() == Path(self.app.base_path).resolve():
            self.line_error("zuplo:export: the gateway's project has a folder of its own, as in ../gateway")
            return 1
        try:
            edited = self._write(folder, self._project().files())
        except OSError as error:
            self.line_error(f"zuplo:export: {error}")
            return 1
        if edited:
            self.line_error(f"\nNothing was written: {', '.join(edited)} would be overwritten. --force does it.")
            return 1
        return 0

    def _project(self) -> ZuploProject:
        config = self.app.make("config")
        name, version = config.get("application.name"), config.get("application.version")
        header, scheme = "Authorization", "Bearer"
        audience: str | None = slug(name)
        if self.app.has("settings"):
            settings = self.app.make("settings")
            header, scheme = settings.header, settings.scheme
            exact = sorted(settings.issuers[0].audiences.exact)
            audience = exact[0] if exact else None
        operations = self.app.make("openapi").operations()
        return ZuploProject(operations, name, version, audience, header, scheme, bool(self.option("grant-scopes")))

    def _write(self, folder: Path, files: dict[str, str]) -> list[str]:
        """Write ``files`` into ``folder``; or, where one of them was edited, show the difference and return which."""
        edited = []
        for path, text in files.items():
            there = _text_of(folder / path, text)
            if there != text and not self.option("force"):
                edited.append(path)
                before, after = there.splitlines(), text.splitlines()
                self.line_error("\n".join(difflib.unified_diff(before, after, path, "export", lineterm="")))
        if edited:
            return edited
        for path, text in files.items():
            target = folder / path
            same = target.exists() and _text_of(target, text) == text
            if not same:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            self.line(f"{'unchanged' if same else 'written'} {target}")
        return []


def _text_of(file: Path, otherwise: str) -> str:
    """Return what ``file`` holds, ``otherwise`` where there is none; ``OSError`` where it is no plain file."""
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise OSError(f"{file} is no plain file")
    return file.read_bytes().decode("utf-8", "replace") if file.exists() else otherwise
