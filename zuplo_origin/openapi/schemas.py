"""JSON Schemas of the types that actions read and return, from pydantic; those of models are shared components.

pydantic is imported only if a type needs it: an application without models does not pay for it.
"""

import warnings
from collections.abc import Iterable
from typing import Any

Schema = dict[str, Any]

COMPONENT = "#/components/schemas/"
INPUT, OUTPUT = "validation", "serialization"
"""Modes of a schema: what a request may contain, and what a response contains."""
_PLAIN: tuple[tuple[Any, Schema], ...] = (
    (Any, {}),
    (dict, {"type": "object"}),
    (list, {"type": "array", "items": {}}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
)
"""Types whose schemas need no pydantic."""


class Schemas:
    """The schemas of ``wanted``, pairs of a type and a mode. ``components`` are those that several may refer to."""

    def __init__(self, wanted: Iterable[tuple[Any, str]]) -> None:
        self.components: dict[str, Schema] = {}
        self._found: dict[Any, Schema] = {}
        typed = {(repr(kind), mode): kind for kind, mode in wanted if _plain(kind) is None}
        if typed:
            self._generate(typed)

    def of(self, kind: Any, mode: str) -> Schema | None:
        """Return the schema of ``kind``, often a reference to a component; ``None`` if it has none."""
        plain = _plain(kind)
        return self._found.get((repr(kind), mode)) if plain is None else plain

    def resolved(self, schema: Schema) -> Schema:
        """Return ``schema``, or the component that it refers to."""
        while "$ref" in schema:
            schema = self.components[schema["$ref"].removeprefix(COMPONENT)]
        return schema

    def _generate(self, typed: dict[tuple[str, str], Any]) -> None:
        from pydantic import TypeAdapter
        from pydantic.json_schema import PydanticJsonSchemaWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # a default that JSON has no value for
            adapters: list[Any] = []
            for (name, mode), kind in typed.items():
                try:
                    adapter: Any = TypeAdapter(kind)
                    adapter.json_schema(mode=mode)
                except Exception:  # noqa: S112  # a class that pydantic cannot describe, such as a model of the ORM
                    continue
                adapters.append((name, mode, adapter))
            found, shared = TypeAdapter.json_schemas(adapters, ref_template=f"{COMPONENT}{{model}}")
        self._found = dict(found)
        self.components = shared.get("$defs", {})


def _plain(kind: Any) -> Schema | None:
    return next((schema for each, schema in _PLAIN if kind is each), None)


def referred(document: Any) -> set[str]:
    """Return the names of the components that ``document`` refers to, anywhere in it."""
    if isinstance(document, list):
        return {name for each in document for name in referred(each)}
    if not isinstance(document, dict):
        return set()
    target = document.get("$ref")
    own = {target.removeprefix(COMPONENT)} if isinstance(target, str) and target.startswith(COMPONENT) else set()
    return own | {name for each in document.values() for name in referred(each)}
