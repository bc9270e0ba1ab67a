"""YAML composes to nodes under either parser, and no text takes more than its share."""

import time

import pytest
import yaml

from fastpath.settings import yaml_tree
from fastpath.settings.yaml_tree import MAX_BYTES, Mapping, Place, Scalar, YamlError, compose, kind_of, merge, node_of


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs over libyaml and over the parser in Python."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_tree, "_LOADER", getattr(yaml, request.param))


def test_nodes_know_their_line_and_column_after_wide_characters() -> None:
    node = compose("\ufeffé: {é: 1,\n   'ü': x}\n")
    assert isinstance(node, Mapping)
    inner = node.pairs[0][1]
    assert isinstance(inner, Mapping)
    assert [value.place for _, value in inner.pairs] == [Place(1, 8), Place(2, 9)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "null"),
        ("~", "null"),
        ("null", "null"),
        ("true", "bool"),
        ("False", "bool"),
        ("yes", "text"),
        ("off", "text"),
        ("-12", "int"),
        ("007", "int"),
        ("0x1f", "text"),
        ("1_000", "text"),
        ("1:30", "text"),
        ("2026-01-01", "text"),
        ("1.", "float"),
        (".5", "float"),
        ("1e3", "float"),
        (".inf", "text"),
        ("'1'", "text"),
        ('"true"', "text"),
        ("!!str 1", "text"),
        ("|\n  1", "text"),
        ("[]", "list"),
        ("{}", "mapping"),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, kind: str) -> None:
    node = compose(f"a: {text}\n")
    assert isinstance(node, Mapping)
    assert kind_of(node.pairs[0][1]) == kind


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000])
def test_a_page_of_brackets_is_refused_at_its_depth(text: str) -> None:
    with pytest.raises(YamlError, match="nested deeper"):
        compose(text)


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    began = time.monotonic()
    with pytest.raises(YamlError, match="aliases") as caught:
        compose("\n".join(lines))
    assert caught.value.place.line == 5
    assert time.monotonic() - began < 2


def test_many_small_aliases_are_refused_too() -> None:
    with pytest.raises(YamlError, match="aliases"):
        compose("a: &a 1\nb: [" + ", ".join(["*a"] * 201) + "]\n")


def test_a_file_above_the_limit_is_refused() -> None:
    with pytest.raises(YamlError, match="larger than 4 MiB"):
        compose("#" * (MAX_BYTES + 1))


def test_a_lone_surrogate_is_refused_where_it_stands() -> None:
    with pytest.raises(YamlError) as caught:
        compose("a: 1\nb: \ud800")
    assert caught.value.place == Place(2, 4)


def test_an_empty_document_is_nothing() -> None:
    assert compose("# only a comment\n") is None


def test_merge_replaces_leaves_and_keeps_the_rest() -> None:
    merged = merge(node_of({"a": {"b": 1, "c": 2}, "d": 3}), node_of({"a": {"b": 9}, "e": 4}))
    assert merged == node_of({"a": {"b": 9, "c": 2}, "d": 3, "e": 4})


def test_a_value_of_a_program_is_no_template() -> None:
    assert node_of("${HOME}") == Scalar(Place(), "$${HOME}", plain=False)
