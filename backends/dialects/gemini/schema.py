"""JSON Schema, cut to the part of it that Gemini knows. Pure.

A schema that must hold (`strict`) is refused when it says more than Gemini can hold; of any other, what is not known is
left out, which allows more and forbids nothing that was allowed. Source: `responseJsonSchema` in the API reference.
"""

from typing import Any

from backends.dialects.dialect import Refused

#: Levels that a schema may be nested.
DEEPEST = 64

_KEPT = frozenset(
    {
        "type",
        "title",
        "description",
        "enum",
        "required",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "propertyOrdering",
        "$id",
        "$anchor",
    }
)
_SCHEMAS = frozenset({"anyOf", "oneOf", "prefixItems"})  # lists of schemas
_MAPS = frozenset({"properties", "$defs"})
_INNER = frozenset({"items", "additionalProperties"})  # a schema, or true or false
_FORMATS = frozenset({"date-time", "date", "time", "int32", "int64", "float", "double"})
#: What constrains nothing.
_NOTES = frozenset(
    {
        "default",
        "examples",
        "example",
        "$schema",
        "$comment",
        "readOnly",
        "writeOnly",
        "deprecated",
        "strict",
        "contentEncoding",
        "contentMediaType",
    }
)


def narrow(schema: Any, strict: bool, where: str) -> Any:
    """`schema` as Gemini takes it. where: the field it stands in. Raises Refused."""
    if not isinstance(schema, dict):
        raise Refused(f"{where} must be a JSON Schema object.", where)
    return _Narrowing(strict, where).schema(schema, 0)


class _Narrowing:
    def __init__(self, strict: bool, where: str) -> None:
        self._strict = strict
        self._where = where

    def schema(self, schema: Any, depth: int) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Refused(f"{self._where} is not a JSON Schema.", self._where)
        if depth > DEEPEST:
            raise Refused(f"{self._where} is nested more than {DEEPEST} deep.", self._where)
        if "$ref" in schema:
            return self._reference(schema, depth)
        kept: dict[str, Any] = {}
        for name, value in schema.items():
            self._keep(kept, name, value, depth + 1)
        return kept

    def _reference(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """Beside a reference Gemini takes nothing but names with a dollar."""
        reference = schema["$ref"]
        if not isinstance(reference, str):
            raise Refused(f"{self._where} has a $ref that is not a text.", self._where)
        kept: dict[str, Any] = {"$ref": reference.replace("#/definitions/", "#/$defs/", 1)}
        for name, value in schema.items():
            if name in ("$defs", "definitions"):
                self._keep(kept, name, value, depth + 1)
            elif name not in ("$ref", "title", "description"):
                self._drop(name)
        return kept

    def _keep(self, kept: dict[str, Any], name: str, value: Any, depth: int) -> None:
        name = "$defs" if name == "definitions" else name
        if name in _KEPT:
            kept[name] = value
        elif name in _MAPS and isinstance(value, dict):
            kept[name] = {key: self.schema(entry, depth) for key, entry in value.items()}
        elif name in _INNER:
            kept[name] = self.schema(value, depth)
        elif name in _SCHEMAS and isinstance(value, list):
            kept[name] = [self.schema(entry, depth) for entry in value]
        elif name == "const" and isinstance(value, str | int | float) and not isinstance(value, bool):
            kept["enum"] = [value]
        elif name == "format" and value in _FORMATS:
            kept["format"] = value
        elif name == "allOf" and isinstance(value, list) and len(value) == 1:
            for key, entry in self.schema(value[0], depth).items():
                kept.setdefault(key, entry)
        else:
            self._drop(name)

    def _drop(self, name: str) -> None:
        if self._strict and name not in _NOTES:
            raise Refused(
                f"{self._where}: Gemini's JSON Schema has no {name[:100]!r}. Leave it out, or set strict to false.",
                self._where,
            )
