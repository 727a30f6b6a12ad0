"""``craft zuplo:export``."""

import difflib
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.gateway_claims import Requirement
from zuplo_origin.dev.zuplo import Export, Gateway, export, read, slug
from zuplo_origin.jwks.fetch import DISCOVERY

UNREADABLE = 2
"""Exit status if a file of the project cannot be read or written."""


class ZuploExportCommand(PlainCommand):
    """
    Write or update the Zuplo project that forwards requests to this origin

    zuplo:export
        {directory : The folder of the gateway project}
        {--c|check : Change nothing; exit with 1 if an export would change something}
        {--d|dry-run : Change nothing; print what would change, and the differences}
        {--p|prune : Remove the exported routes that the origin no longer has}
        {--u|public : Export the public routes too}
        {--i|identity=gateway : Who issues the tokens: gateway, or user for those of an identity provider}
    """

    def handle(self) -> int:
        folder = Path(self.argument("directory"))
        root = Path(self.app.base_path).resolve()
        if not self.argument("directory") or folder.resolve() == root or folder.resolve() in root.parents:
            return self.fail("the gateway project needs a folder of its own, as in ../gateway")
        try:
            gateway = self._gateway()
        except ValueError as error:
            return self.fail(error)
        operations = self.app.make("openapi").operations()
        try:
            made = export(operations, gateway, folder, bool(self.option("public")), bool(self.option("prune")))
            if not self.option("check") and not self.option("dry-run"):
                _write_all(folder, made.files)
        except (OSError, ValueError) as error:
            self.fail(error)
            return UNREADABLE
        self._print(folder, made)
        if self.option("dry-run"):
            self._print_differences(folder, made)
        return 1 if self.option("check") and made.files else 0

    def _gateway(self) -> Gateway:
        """Return how the gateway reaches this origin. Raises ``ValueError`` for options that do not fit."""
        config = self.app.make("config")
        identity = self.option("identity")
        if identity not in ("gateway", "user"):
            raise ValueError(f"--identity: invalid value {identity!r}; expected gateway or user")
        name, version = config.get("application.name"), config.get("application.version")
        if not self.app.has("settings"):
            if identity == "user":
                raise ValueError("--identity user: set JWT_ISSUER and JWT_AUDIENCE, as the origin has them")
            return Gateway(name, version, slug(name))
        settings = self.app.make("settings")
        issuer = settings.issuers[0]
        exact = sorted(issuer.audiences.exact)
        audience = exact[0] if exact else None
        secret_header = settings.gateway.header if settings.gateway else None
        provider = None
        if identity == "user":
            if len(settings.issuers) > 1:
                raise ValueError("--identity user: the gateway's policy takes one issuer; JWT_ISSUER has several")
            if issuer.jwks_url == DISCOVERY:
                raise ValueError("--identity user: name the URL of the key set in JWKS_URL; discovery is not enough")
            provider = (issuer.name, audience, issuer.jwks_url)
        required = tuple(Requirement(path, accepted) for path, accepted in issuer.required_claims.items())
        scopes = settings.scope_claims
        return Gateway(
            name,
            version,
            audience,
            settings.header,
            settings.scheme,
            secret_header,
            provider,
            required,
            "scope" if "scope" in scopes else scopes[0],
        )

    def _print(self, folder: Path, made: Export) -> None:
        is_written = not self.option("check") and not self.option("dry-run")
        done = {"write": "wrote", "add": "added", "update": "updated", "remove": "removed"}
        changes = (
            ("write", [str(folder / path) for path in sorted(made.files)]),
            ("add", made.added),
            ("update", made.updated),
            ("remove", made.removed),
            *((verb, [name]) for verb, name in made.parts),
        )
        for verb, names in changes:
            for name in names:
                self.line(f"{done[verb] if is_written else f'would {verb}'} {name}")
        for name in made.gone:
            self.line(f"kept {name}: the origin no longer has it; --prune removes it")
        for name, reason in made.left_out:
            self.line(f"left out {name}: {reason}")
        for warning in made.warnings:
            self.line_error(f"warning: {warning}")
        if not made.files:
            self.line("nothing to change")

    def _print_differences(self, folder: Path, made: Export) -> None:
        for path, text in sorted(made.files.items()):
            before = (read(folder, path) or "").splitlines()
            self.line("")
            self.line("\n".join(difflib.unified_diff(before, text.splitlines(), path, path, lineterm="")))


def _write_all(folder: Path, files: dict[str, str]) -> None:
    """Write the files, each whole: a reader never sees half of one. Raises ``OSError``."""
    with ExitStack() as undo:
        pending = []
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            undo.callback(Path(temporary).unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
            os.chmod(temporary, target.stat().st_mode & 0o777 if target.exists() else 0o644)
            pending.append((temporary, target))
        for temporary, target in pending:
            os.replace(temporary, target)
