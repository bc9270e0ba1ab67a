"""Values made for JSON Schemas, judged by a validator that is not ours."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.mock.schema import example

TREE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["value", "children"],
    "additionalProperties": False,
}

SCHEMAS = [
    True,
    {},
    {"type": "object"},
    {"type": ["string", "null"]},
    {"enum": ["b", "a"]},
    {"const": {"x": [1]}},
    {"type": "string", "minLength": 12, "maxLength": 14},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": 5},
    {"type": "integer", "maximum": -5},
    {"type": "integer", "exclusiveMinimum": 0, "maximum": 3},
    {"type": "integer", "minimum": 7, "multipleOf": 5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "minimum": -1, "exclusiveMaximum": 0},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 3},
    {"type": "array", "items": {"type": "boolean"}, "maxItems": 0},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}], "items": False},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
               {"properties": {"b": {"type": "integer"}}, "required": ["b"]}]},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/x~1y"}}, "$defs": {"x/y": {"enum": [3]}},
     "required": ["a"]},
    TREE,
    {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_examples_are_valid(schema):
    jsonschema.validate(example(schema), schema)


@given(low=st.integers(-50, 50), width=st.integers(0, 60), kind=st.sampled_from(["integer", "number"]))
def test_numbers_keep_their_bounds(low, width, kind):
    schema = {"type": kind, "minimum": low, "maximum": low + width}
    jsonschema.validate(example(schema), schema)


@pytest.mark.parametrize("reference", ["#/nowhere", "http://other/schema"])
def test_a_reference_to_nowhere_is_an_error(reference):
    with pytest.raises(ValueError, match="leads nowhere"):
        example({"type": "object", "properties": {"a": {"$ref": reference}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    ],
)
def test_an_endless_schema_is_an_error(schema):
    with pytest.raises(ValueError, match=r"itself|endless"):
        example(schema)
