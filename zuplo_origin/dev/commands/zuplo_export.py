"""``craft zuplo:export``."""

import difflib
from pathlib import Path

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.zuplo import ZuploProject, slug


class ZuploExportCommand(PlainCommand):
    """
    Write a Zuplo project that forwards the guarded routes to this origin

    zuplo:export
        {directory : The folder to write to}
        {--f|force : Overwrite edited files}
        {--g|grant-scopes : Let the gateway grant each caller the scopes that a route requires}
    """

    def handle(self) -> int:
        folder = Path(self.argument("directory"))
        if not self.argument("directory") or folder.resolve() == Path(self.app.base_path).resolve():
            return self.fail("the gateway project needs a folder of its own, as in ../gateway")
        try:
            edited = self._write(folder, self._project().files())
        except OSError as error:
            return self.fail(error)
        if edited:
            self.line_error(f"\nNo file was written: {', '.join(edited)} would be overwritten. Use --force to do so.")
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
        """Write ``files`` into ``folder``.

        If some of them were edited, and without ``--force``, print the differences, return their paths, and write none.
        """
        edited = []
        for path, text in files.items():
            existing = _read(folder / path, text)
            if existing != text and not self.option("force"):
                edited.append(path)
                before, after = existing.splitlines(), text.splitlines()
                self.line_error("\n".join(difflib.unified_diff(before, after, path, "export", lineterm="")))
        if edited:
            return edited
        for path, text in files.items():
            target = folder / path
            unchanged = target.exists() and _read(target, text) == text
            if not unchanged:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            self.line(f"{'unchanged' if unchanged else 'written'} {target}")
        return []


def _read(file: Path, default: str) -> str:
    """Return the text of ``file``, or ``default`` if it does not exist.

    Raises:
        OSError: it is not a regular file.
    """
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise OSError(f"{file} is not a regular file")
    return file.read_bytes().decode("utf-8", "replace") if file.exists() else default
