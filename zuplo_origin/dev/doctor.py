"""Examine an application: name each difference from what ``new`` writes today that matters, and what to do.

The application's files are parsed, not imported: one that does not start can be examined too.
"""

import ast
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from zuplo_origin import __version__
from zuplo_origin.settings import PREFIXES, RENAMED, SETTINGS, is_of_kubernetes

from . import new
from .sources import (
    Sources,
    Unclear,
    class_of,
    imported_modules,
    imports,
    members,
    product_file,
    product_names,
    shape,
    where_defined,
)

NOTHING, DIFFERENCES, UNREADABLE = 0, 1, 2
"""Exit statuses."""

REQUIRED = ("wsgi.py", "Kernel.py", "craft", "config/application.py", "config/providers.py", "routes/web.py")
MIDDLEWARE = "app/middlewares/JWTAuthMiddleware.py"
AFTER = {
    "ObservabilityProvider": ("SettingsProvider",),
    "DatabaseProvider": ("SettingsProvider",),
    "JWKSProvider": ("SettingsProvider", "ObservabilityProvider"),
    "JWTProvider": ("SettingsProvider", "ObservabilityProvider", "JWKSProvider"),
    "OpenApiProvider": ("SettingsProvider",),
    "RouteProvider": ("SettingsProvider",),
}
"""Provider to those above it: it uses what they bind."""
DECIDES = ("jose", "jwt", "jwcrypto", "joserfc", "authlib", "zuplo_origin.jwt.verifier", "zuplo_origin.jwks")
"""Modules that a middleware needs only if it verifies tokens itself."""
CONFIGURED = ("jwt", "metrics", "server")
"""Modules of ``config/`` that have settings of the product alone."""
DEPLOYED = (".env", ".env-example", "Procfile", "Dockerfile")


def examine(folder: str) -> int:
    """Print each difference of the application ``folder`` that matters, and return the exit status."""
    root = Path(folder)
    try:
        is_application = root.is_dir() and any((root / name).exists() for name in REQUIRED)
        if not is_application:
            raise ValueError("is no application: it has no wsgi.py")
        sources = Sources(root)
        database = _database(sources)
        today = new.files("Zuplo origin", database)
        found = list(dict.fromkeys(differences(sources, today)))
    except (OSError, ValueError) as error:
        print(f"doctor: {folder}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return UNREADABLE
    for line in found:
        print(line)
    for line in sources.unreadable.values():
        print(f"doctor: {line}", file=sys.stderr)
    if found:
        print(
            f"\n{len(found)} to change for zuplo-origin {__version__}. See today's files in an application beside this:"
        )
        print(f"    python -m zuplo_origin new ../today --database {database}")
    elif not sources.unreadable:
        print(f"nothing to change for zuplo-origin {__version__}")
    if sources.unreadable:
        return UNREADABLE
    return DIFFERENCES if found else NOTHING


def _database(sources: Sources) -> str:
    if not sources.has("config/database.py"):
        return "none"
    return "sqlite" if "sqlite" in sources.text("config/database.py") else "postgres"


def differences(sources: Sources, today: dict[str, str]) -> Iterator[str]:
    """Yield a line for each difference of ``sources`` from the files ``today``."""
    for name in REQUIRED:
        if not sources.has(name):
            yield f"{name}: missing; take today's"
    if sources.has("Dockerfile") and not sources.has(".dockerignore"):
        yield ".dockerignore: missing, so that secrets and tests get into the image; take today's"
    yield from _pins(sources, today)
    yield from _entry_points(sources, today)
    yield from _providers(sources, today)
    yield from _middleware(sources, today)
    yield from _routes(sources)
    yield from _settings(sources)
    yield from _imports(sources)
    yield from sources.broken.values()


# -- the version ------------------------------------------------------------------------------------------------------


def _pins(sources: Sources, today: dict[str, str]) -> Iterator[str]:
    files = [
        path.name for path in sorted(sources.root.glob("requirements*")) if path.suffix in (".in", ".lock", ".txt")
    ]
    named = False
    for name in files:
        for number, line in enumerate(sources.text(name).splitlines(), 1):
            if re.match(r"\s*zuplo[-_.]origin\b(?!\s*@)|[^#]*\bzuplo_origin-[^/]*\.whl", line, re.IGNORECASE) is None:
                continue
            named = True
            pinned = re.search(r"===?\s*([^\s;\\#,]+)|zuplo_origin-([^-/]+)-[^/]*\.whl", line)
            version = pinned and (pinned[1] or pinned[2])
            if version != __version__:
                found = f"pins zuplo-origin {version}" if version else "does not pin zuplo-origin"
                yield f"{name}:{number}: {found}; write zuplo-origin=={__version__}"
    if not named:
        yield f"requirements.txt: does not name zuplo-origin; add zuplo-origin=={__version__}"
    wheels = [path.name for path in sources.root.glob("wheels/zuplo_origin-*.whl")]
    if wheels and not any(name.startswith(f"zuplo_origin-{__version__}-") for name in wheels):
        yield f"wheels/: has {', '.join(sorted(wheels))}; put the wheel of {__version__} there"
    yield from _constraints(sources, today)


def _constraints(sources: Sources, today: dict[str, str]) -> Iterator[str]:
    tested, used = (_versions(text) for text in (today["constraints.txt"], sources.text("constraints.txt")))
    others = sorted(name for name in tested.keys() & used.keys() if tested[name] != used[name])
    if others:
        names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        yield f"constraints.txt: not the versions that {__version__} was tested with ({names}); take today's"


def _versions(text: str) -> dict[str, set[str]]:
    """Return each package of a file of constraints, to its lines: one for each marker."""
    found: dict[str, set[str]] = {}
    for name, rest in re.findall(r"^([A-Za-z0-9._-]+)(==.*)$", text, re.MULTILINE):
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(rest.strip())
    return found


# -- files that an upgrade replaces -----------------------------------------------------------------------------------


def _entry_points(sources: Sources, today: dict[str, str]) -> Iterator[str]:
    for name in ("wsgi.py", "craft"):
        tree = sources.tree(name)
        if tree is not None and shape(tree) != shape(ast.parse(today[name])):
            yield f"{name}: differs from what new writes; take today's"
    tree = sources.tree("Kernel.py")
    if tree is not None:
        kernel, now = class_of(tree, "Kernel"), class_of(ast.parse(today["Kernel.py"]), "Kernel")
        if kernel is None or now is None:
            yield "Kernel.py: has no class Kernel; take today's, and add your middleware"
        elif changed := _changed(kernel, now, leave=("http_middleware", "route_middleware")):
            yield f"Kernel.py: {', '.join(changed)} differ from what new writes; take today's, with your middleware"
    web = re.search(r"^web:(.*)$", sources.text("Procfile"), re.MULTILINE)
    if web and "zuplo_origin.server" not in web[1] and "wsgi" not in web[1]:
        yield f"Procfile: web is{web[1]}; write web: python -m zuplo_origin.server"
    for name in ("Dockerfile", *sources.names("deploy", suffix=".service")):
        if other := re.search(
            r"-m[\", ]+((?:deploy|zuplo_origin)\.(?!server\b)[\w.]+|deploy\.server)", sources.text(name)
        ):
            yield f"{name}: starts {other[1]}; the server is zuplo_origin.server"


def _changed(found: ast.ClassDef, now: ast.ClassDef, leave: tuple[str, ...] = ()) -> list[str]:
    """Return the members of the class ``now`` that ``found`` lacks, or has otherwise."""
    have = members(found)
    return [name for name, code in members(now).items() if name not in leave and have.get(name) != code]


# -- providers --------------------------------------------------------------------------------------------------------


def _providers(sources: Sources, today: dict[str, str]) -> Iterator[str]:
    if sources.tree("config/providers.py") is None:
        return
    needed = _list_of(today["config/providers.py"])
    try:
        listed = sources.classes("config/providers.py", "PROVIDERS")
    except Unclear as where:
        yield f"{where}: PROVIDERS is more than a list; check that it has {', '.join(needed)}, in this order"
        return
    known = [name for name in listed if name in AFTER or name in needed]
    for name in needed:
        if name not in known:
            yield f"config/providers.py: {name} is missing; add it where new has it"
    if "DatabaseProvider" in known and not sources.has("config/database.py"):
        yield "config/database.py: missing, and DatabaseProvider needs it; take today's, or remove DatabaseProvider"
    for name in known:
        below = [other for other in AFTER.get(name, ()) if other in known[known.index(name) :]]
        if below:
            yield f"config/providers.py: {name} is above {' and '.join(below)}, and needs what they bind; move it below"
    for name in known:
        yield from _provider(sources, today, name)


def _list_of(text: str) -> list[str]:
    """Return the names in the first list of a file: in an edited clone, the template adds to it."""
    values = [each.value for each in ast.parse(text).body if isinstance(each, ast.Assign)]
    return [each.id for each in getattr(values[0], "elts", []) if isinstance(each, ast.Name)]


def _provider(sources: Sources, today: dict[str, str], name: str) -> Iterator[str]:
    """Yield a line if the provider ``name`` of the application does not do what today's does."""
    file = f"app/providers/{name}.py"
    tree = sources.tree(file)
    if tree is None or file not in today:
        return
    lacks = _does(ast.parse(today[file])) - _does(tree)
    if lacks:
        yield f"{file}: lacks {', '.join(sorted(lacks))} of what new writes; take today's"


def _does(tree: ast.Module) -> set[str]:
    """Return the functions of the product that a provider calls, and the names that it binds."""
    uses = {module: name for name, (module, _) in imports(tree).items() if module.startswith("zuplo_origin")}
    product = {name for name, (module, _) in imports(tree).items() if module in uses}
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in product:
            found.add(f"{node.func.id}()")
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("bind", "scoped") and node.args:
            found |= {f"the binding {each.value!r}" for each in node.args[:1] if isinstance(each, ast.Constant)}
    return found


# -- middleware -------------------------------------------------------------------------------------------------------


def _middleware(sources: Sources, today: dict[str, str]) -> Iterator[str]:
    for name in sources.names("app/middlewares"):
        yield from _rules(sources, name)
    tree = sources.tree("Kernel.py")
    kernel = class_of(tree, "Kernel") if tree else None
    if tree is None or kernel is None:
        return
    registered = _registered(kernel)
    if registered is None:
        yield "Kernel.py: route_middleware is more than a dict; check that it has jwt and claims"
        return
    if "claims" not in registered:
        yield 'Kernel.py: route_middleware has no "claims"; add "claims": [ClaimsMiddleware] from zuplo_origin.guard'
    if "jwt" not in registered:
        yield 'Kernel.py: route_middleware has no "jwt"; add "jwt": [JWTAuthMiddleware] from app/middlewares'
        return
    imported = imports(tree)
    guards = [imported.get(name, ("", name)) for name in registered["jwt"]]
    if any(module.startswith("zuplo_origin") for module, _ in guards):
        return
    found = [(file, name) for module, name in guards if (file := sources.file_of(module))]
    if not found:
        yield f"{MIDDLEWARE}: missing; take today's, and register it in Kernel.py as jwt"
    checked = [list(_guard(sources, today, file, name)) for file, name in found]
    yield from min(checked, key=len, default=[])


def _registered(kernel: ast.ClassDef) -> dict[str, list[str]] | None:
    """Return the keys of ``route_middleware`` to the names of their classes; ``None`` if it is no literal."""
    for node in kernel.body:
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and getattr(target, "id", "") == "route_middleware":
            if not isinstance(node.value, ast.Dict):
                return None
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {
                str(getattr(key, "value", "")): [each.id for each in ast.walk(value) if isinstance(each, ast.Name)]
                for key, value in pairs
            }
    return {}


def _rules(sources: Sources, name: str) -> Iterator[str]:
    tree = sources.tree(name)
    for node, module, _ in imported_modules(tree) if tree else ():
        if any(module == each or module.startswith(f"{each}.") for each in DECIDES):
            yield f"{name}:{node.lineno}: verifies tokens itself, with {module}; call zuplo_origin.guard instead"


def _guard(sources: Sources, today: dict[str, str], file: str, name: str) -> Iterator[str]:
    """Yield what differs in the middleware ``jwt``: its rules are those of ``zuplo_origin.guard``."""
    tree = sources.tree(file)
    found = class_of(tree, name) if tree else None
    now = class_of(ast.parse(today[MIDDLEWARE]), "JWTAuthMiddleware")
    if tree is None or now is None:
        return
    if found is None:
        yield f"{file}: has no class {name}; take today's"
        return
    calls = {each.func.attr for each in ast.walk(found) if isinstance(each, ast.Call) and hasattr(each.func, "attr")}
    strings = {each.value for each in ast.walk(found) if isinstance(each, ast.Constant)}
    if "guard" not in strings or not {"verify", "reject"} <= calls:
        yield f"{file}: holds rules of its own instead of calling zuplo_origin.guard; take today's"
        return
    have = members(found)
    for member in _changed(found, now):
        if member not in have:
            yield f"{file}: lacks {member}; take today's"
        else:
            yield f"{file}: {member} is not what new writes; move rules of your own to another middleware"


# -- routes and settings ----------------------------------------------------------------------------------------------


def _routes(sources: Sources) -> Iterator[str]:
    tree = sources.tree("routes/web.py")
    if tree is None:
        return
    names = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    names |= set(imports(tree))
    for name in ("ROUTES", "METRICS", "METADATA"):
        if name not in names:
            yield f"routes/web.py: {name} is missing; add it, as today's has it"
    trees = [sources.tree(name) for name in sources.names("routes")]
    strings = {
        each.value
        for each in (node for tree in trees if tree for node in ast.walk(tree))
        if isinstance(each, ast.Constant)
    }
    for path in ("/health/live", "/health/ready"):
        if path not in strings and not ("/health" in strings and path.removeprefix("/health") in strings):
            yield f"routes/web.py: {path} is missing; probes request it"


_NAME = re.compile(
    rf"(?<![\w.])(?:{'|'.join([*(f'{each}[A-Z0-9_]*[A-Z0-9]' for each in PREFIXES), *RENAMED])})(?![\w.-]|\*)"
)


def _settings(sources: Sources) -> Iterator[str]:
    others = [
        name
        for suffix in (".yaml", ".yml", ".json", ".toml", ".service", ".env")
        for name in sources.names("deploy", suffix=suffix)
    ]
    for name in (*DEPLOYED, *others):
        for number, line in enumerate(sources.text(name).splitlines(), 1):
            yield from (f"{name}:{number}: {problem}" for each in _NAME.findall(line) if (problem := _unknown(each)))
    for name in sources.names("config"):
        yield from _config(sources, name)


def _unknown(name: str) -> str | None:
    """Return what is wrong with a variable; ``None`` for a setting, and for one that Kubernetes sets."""
    if name in RENAMED:
        return f"{name} was renamed; write {RENAMED[name]}"
    if name in SETTINGS or is_of_kubernetes(name):
        return None
    nearest = get_close_matches(name, SETTINGS, 1)
    return f"{name} is no setting; " + (f"did you mean {nearest[0]}?" if nearest else "remove it")


def _config(sources: Sources, name: str) -> Iterator[str]:
    tree, module = sources.tree(name), Path(name).stem
    paths = {setting.path: variable for variable, setting in SETTINGS.items()} | {"jwt.issuers": "issuers"}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            variable = node.args[0].value
            if isinstance(variable, str) and _NAME.fullmatch(variable) and (problem := _unknown(variable)):
                yield f"{name}:{node.lineno}: {problem}"
    for node in tree.body if tree and module in CONFIGURED and name == f"config/{module}.py" else ():
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for each in targets:
            constant = getattr(each, "id", "")
            path = f"{module}.{constant.lower()}"
            if constant.isupper() and not constant.startswith("_") and path not in paths:
                nearest = get_close_matches(path, paths, 1, cutoff=0.8)
                meant = f"; did you mean {nearest[0].split('.')[1].upper()}?" if nearest else "; remove it"
                yield f"{name}:{node.lineno}: {constant} is no setting, and has no effect{meant}"


# -- imports ----------------------------------------------------------------------------------------------------------


def _imports(sources: Sources) -> Iterator[str]:
    for name in sources.python():
        tree = sources.tree(name)
        for node, module, imported in imported_modules(tree) if tree else ():
            if module.split(".")[0] == "zuplo_origin" and (problem := _gone(module, imported)):
                yield f"{name}:{node.lineno}: {problem}"


def _gone(module: str, name: str | None) -> str | None:
    """Return a sentence if ``name`` cannot be imported from ``module``; ``None`` if it can."""
    if product_file(module) is not None and (name in (None, "*") or name in product_names(module)):
        return None
    there = where_defined(name) if name else None
    advice = f"import it from {there}" if there else "see CHANGELOG.md of zuplo-origin"
    return f"{module} has no {name}; {advice}" if product_file(module) and name else f"there is no {module}; {advice}"
