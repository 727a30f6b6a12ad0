"""JSON Schemas of the types that actions read and return, from pydantic; those of models are shared components.

pydantic is imported only if a type needs it: an application without models does not pay for it.
"""

import math
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


MISSING: Any = object()
"""Returned by ``Schemas.example`` if there is no example."""


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
        merged = _same_in_both_modes(shared.get("$defs", {}))
        self._found = {key: _clean(_renamed(schema, merged)) for key, schema in found.items()}
        self.components = {
            merged.get(name, name): _clean(_renamed(schema, merged)) for name, schema in shared.get("$defs", {}).items()
        }

    def example(self, schema: Schema, inside: tuple[str, ...] = ()) -> Any:
        """Return an example of ``schema``, made from those of its fields; ``MISSING`` if a required field has none.

        ``inside`` are the names of the components that refer to this schema.
        """
        for name in ("examples", "enum"):
            if schema.get(name):
                return next(iter(schema[name].values())) if isinstance(schema[name], dict) else schema[name][0]
        for name in ("example", "const", "default"):
            if schema.get(name) is not None:
                return schema[name]
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(COMPONENT)
            return MISSING if name in inside else self.example(self.components[name], (*inside, name))
        for alternative in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            if (found := self.example(alternative, inside)) is not MISSING:
                return found
        if "properties" in schema:
            return self._example_of_object(schema, inside)
        if schema.get("type") == "array":
            found, least = self.example(schema.get("items", {}), inside), schema.get("minItems", 1)
            if found is MISSING or least > 5 or (least > 1 and schema.get("uniqueItems")):
                return MISSING
            return [found] * max(1, least)
        return {"boolean": True, "null": None}.get(schema.get("type", ""), MISSING)

    def _example_of_object(self, schema: Schema, inside: tuple[str, ...]) -> Any:
        made = {name: self.example(each, inside) for name, each in schema["properties"].items()}
        if any(made.get(name) is MISSING for name in schema.get("required", ())):
            return MISSING
        return {name: each for name, each in made.items() if each is not MISSING}


def _plain(kind: Any) -> Schema | None:
    return next((schema for each, schema in _PLAIN if kind is each), None)


def _same_in_both_modes(components: dict[str, Schema]) -> dict[str, str]:
    """Return the new names of components that pydantic has made for both modes, but that do not differ.

    It names those of a model that refers to itself ``Node-Input`` and ``Node-Output``.
    """
    models = {name.removesuffix("-Input") for name in components if name.endswith("-Input")}
    models = {name for name in models if f"{name}-Output" in components and name not in components}
    while True:
        renamed = {f"{name}{mode}": name for name in models for mode in ("-Input", "-Output")}
        differing = {
            name
            for name in models
            if _renamed(components[f"{name}-Input"], renamed) != _renamed(components[f"{name}-Output"], renamed)
        }
        if not differing:
            return renamed
        models -= differing


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a schema in which the references to components have their new ``names``."""
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if isinstance(value, dict):
        return {key: _renamed(each, names) for key, each in value.items()}
    if isinstance(value, str) and value.startswith(COMPONENT):
        name = value.removeprefix(COMPONENT)
        return COMPONENT + names.get(name, name)
    return value


def _clean(schema: Schema) -> Schema:
    """Return ``schema`` without titles that repeat the name of a field, and without defaults that are not for readers.

    JSON has no infinity, and the default of a secret is secret.
    """
    made: Schema = {}
    for key, value in schema.items():
        if key == "default" and (
            schema.get("format") == "password" or (isinstance(value, float) and not math.isfinite(value))
        ):
            continue
        if key == "properties":
            made[key] = {name: _clean_property(name, each) for name, each in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            made[key] = _clean(value)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            made[key] = [_clean(each) for each in value]
        else:
            made[key] = value
    return made


def _clean_property(name: str, schema: Schema) -> Schema:
    made = _clean(schema)
    if made.get("title") == name.title().replace("_", " ").strip():
        del made["title"]
    return made


def referred(document: Any) -> set[str]:
    """Return the names of the components that ``document`` refers to, anywhere in it."""
    if isinstance(document, list):
        return {name for each in document for name in referred(each)}
    if not isinstance(document, dict):
        return set()
    target = document.get("$ref")
    own = {target.removeprefix(COMPONENT)} if isinstance(target, str) and target.startswith(COMPONENT) else set()
    return own | {name for each in document.values() for name in referred(each)}
