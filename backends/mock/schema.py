"""A value that satisfies a JSON Schema: what the mock puts into tool arguments and structured answers.

Covers what tools and `response_format` use: types, enum, const, properties, items, prefixItems, local $ref, anyOf,
oneOf, allOf, length and number bounds, common formats. Patterns are not generated. Pure and deterministic.
"""

import math
from typing import Any

Schema = dict[str, Any]

DEEP = 4
"""Nesting from which optional properties and items are left out, so that recursive schemas end."""

ENDLESS = 32
"""Nesting of required values that is taken for endless."""

FORMATS = {
    "date-time": "2024-01-01T00:00:00Z",
    "date": "2024-01-01",
    "time": "00:00:00Z",
    "email": "a@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "http://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
    "duration": "P1D",
}


def example(schema: Any) -> Any:
    """A value valid for `schema` (a JSON Schema object, or true). Raises ValueError for a $ref that leads nowhere."""
    return _value(schema, schema if isinstance(schema, dict) else {}, 0)


def _value(schema: Any, root: Schema, depth: int) -> Any:
    if not isinstance(schema, dict):
        return {}
    if depth > ENDLESS:
        raise ValueError("the schema requires endless nesting")
    schema = _resolved(schema, root, depth)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    return _typed(schema, root, depth)


def _typed(schema: Schema, root: Schema, depth: int) -> Any:
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, depth)
    if kind in ("integer", "number"):
        return _number(schema, kind)
    if kind == "string":
        return _string(schema)
    return {"boolean": True}.get(kind)


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if entry != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "object" if "properties" in schema or not schema else "string"


def _resolved(schema: Schema, root: Schema, depth: int) -> Schema:
    """`schema` with $ref, the first of anyOf / oneOf and all of allOf merged in."""
    seen: set[str] = set()
    while True:
        if "$ref" in schema:
            reference = schema["$ref"]
            if reference in seen:
                raise ValueError(f"$ref {reference!r} leads to itself")
            seen.add(reference)
            schema = _without(schema, "$ref") | _lookup(reference, root)
        elif choice := schema.get("anyOf") or schema.get("oneOf"):
            schema = _without(schema, "anyOf", "oneOf") | _chosen(choice, depth)
        elif parts := schema.get("allOf"):
            schema = _merged([_without(schema, "allOf"), *(_resolved(part, root, depth) for part in parts)])
        else:
            return schema


def _chosen(choice: list[Schema], depth: int) -> Schema:
    """The first variant that is not null; deep down one that leads nowhere else, so that recursive unions end."""
    if depth >= DEEP:
        return next((variant for variant in choice if "$ref" not in variant), choice[0])
    return next((variant for variant in choice if variant.get("type") != "null"), choice[0])


def _without(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}


def _merged(parts: list[Schema]) -> Schema:
    merged: Schema = {}
    for part in parts:
        properties = merged.get("properties", {}) | part.get("properties", {})
        required = [*merged.get("required", []), *part.get("required", [])]
        merged |= part
        if properties:
            merged |= {"properties": properties, "required": required}
    return merged


def _lookup(reference: str, root: Schema) -> Schema:
    node: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise ValueError(f"$ref {reference!r} leads nowhere")
    return node


def _object(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    required = schema.get("required", [])
    names = {name: part for name, part in schema.get("properties", {}).items() if depth < DEEP or name in required}
    return {name: _value(part, root, depth + 1) for name, part in names.items()}


def _array(schema: Schema, root: Schema, depth: int) -> list[Any]:
    least = schema.get("minItems", 0 if depth >= DEEP else 1)
    count = max(least, 0) if schema.get("maxItems", 1) else 0
    fixed = [_value(part, root, depth + 1) for part in schema.get("prefixItems", [])]
    items = schema.get("items")
    rest = [] if items is False else [_value(items, root, depth + 1) for _ in range(count - len(fixed))]
    return fixed + rest


def _number(schema: Schema, kind: str) -> int | float:
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    step = schema.get("multipleOf", 1)
    candidates: list[float] = [0]
    if math.isfinite(low):
        candidates += [math.ceil(low / step) * step, math.floor(low / step) * step + step, low]
    if math.isfinite(high):
        candidates += [math.floor(high / step) * step, math.ceil(high / step) * step - step, high, (low + high) / 2]
    fitting = next((value for value in candidates if _fits(value, schema, kind)), None)
    if fitting is None:
        raise ValueError(f"no {kind} satisfies {schema}")
    return int(fitting) if kind == "integer" else fitting


def _fits(value: float, schema: Schema, kind: str) -> bool:
    inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
    above = value > schema.get("exclusiveMinimum", -math.inf)
    below = value < schema.get("exclusiveMaximum", math.inf)
    whole = kind != "integer" or value == math.floor(value)
    return inside and above and below and whole and value % schema.get("multipleOf", value or 1) == 0


def _string(schema: Schema) -> str:
    text: str = str(FORMATS.get(schema.get("format", ""), "mock"))
    text += "x" * (int(schema.get("minLength", 0)) - len(text))
    return text[: int(schema.get("maxLength", len(text)))]
