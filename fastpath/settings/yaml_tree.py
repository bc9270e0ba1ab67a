"""YAML text to a tree of nodes that know their line and column.

Owns the reading of YAML: PyYAML's events are composed here without recursion, because libyaml's own composer overflows
the C stack on a page of brackets (measured: 100,000 of them end the process). Plain scalars mean what YAML 1.2 says, so
`off` and `1:30` are texts. Bounded in size, depth and aliases. Knows nothing of settings. Pure.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeAlias

import msgspec
import yaml

MAX_BYTES = 4 << 20
MAX_DEPTH = 32
MAX_ALIASES = 200
MAX_ALIASED_NODES = 100_000

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TEXT_TAG = "tag:yaml.org,2002:str"
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Mark(Protocol):
    """A position as both of PyYAML's parsers give it, counted from 0."""

    line: int
    column: int


class Place(NamedTuple):
    """Line and column, both from 1. Line 0: not in a file (a flag, or settings made in Python)."""

    line: int = 0
    column: int = 0


class Scalar(msgspec.Struct):
    """A single value as written. `plain`: without quotes, so that it may be a number, a boolean or null."""

    place: Place
    text: str
    plain: bool
    size: int = 1


class Sequence(msgspec.Struct):
    """A list of nodes. `size` counts the nodes under it, those behind aliases too."""

    place: Place
    items: "list[Node]"
    size: int = 1


class Mapping(msgspec.Struct):
    """Pairs in the order of the file, duplicates included."""

    place: Place
    pairs: "list[tuple[Node, Node]]"
    size: int = 1


Node: TypeAlias = Scalar | Sequence | Mapping


class YamlError(Exception):
    """The text is not YAML that settings may be written in. `place` says where, the message what to do."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def kind_of(node: Node) -> str:
    """What a node is by YAML 1.2's core schema: text, int, float, bool, null, list or mapping."""
    if isinstance(node, Scalar):
        return _kind_of_plain(node.text) if node.plain else "text"
    return "list" if isinstance(node, Sequence) else "mapping"


def _kind_of_plain(text: str) -> str:
    if text in _NULL:
        return "null"
    if text in _TRUE or text in _FALSE:
        return "bool"
    if _INT.fullmatch(text):
        return "int"
    return "float" if _FLOAT.fullmatch(text) else "text"


def node_of(value: object) -> Node:
    """The node that would read back as `value` (None, bool, int, float, str, list, tuple, dict), without a place.

    `$` is escaped, because what comes from a program or a flag is not a template.
    """
    nowhere = Place()
    if isinstance(value, dict):
        return Mapping(nowhere, [(node_of(key), node_of(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return Sequence(nowhere, [node_of(item) for item in value])
    if isinstance(value, str):
        return Scalar(nowhere, value.replace("${", "$${"), plain=False)
    return Scalar(nowhere, json.dumps(value), plain=True)


def merge(base: Node, over: Node) -> Node:
    """`base` with the values of `over` in place of its own, mapping by mapping."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    pairs = list(base.pairs)
    for key, value in over.pairs:
        index = next((i for i, (old, _) in enumerate(pairs) if _same_key(old, key)), None)
        if index is None:
            pairs.append((key, value))
        else:
            pairs[index] = (pairs[index][0], merge(pairs[index][1], value))
    return Mapping(base.place, pairs)


def _same_key(left: Node, right: Node) -> bool:
    return isinstance(left, Scalar) and isinstance(right, Scalar) and left.text == right.text


def compose(text: str) -> Node | None:
    """The one document in `text`, None when it is empty. Raises YamlError at the first thing that is not YAML."""
    try:
        if len(text.encode()) > MAX_BYTES:
            raise YamlError(Place(1, 1), f"the file is larger than {MAX_BYTES >> 20} MiB: split it over gateways")
        return _Composer().compose(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise YamlError(_place_of(error.problem_mark), _sentence(error)) from None
    except UnicodeEncodeError as error:
        raise YamlError(place_at(text, error.start), "half of a surrogate pair is not text: remove it") from None
    except yaml.reader.ReaderError as error:
        place = place_at(text, int(error.position))
        raise YamlError(place, "a control character is not allowed here: remove it") from None


def place_at(text: str, offset: int) -> Place:
    """Line and column of the character at `offset`."""
    before = text[:offset]
    return Place(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _place_of(mark: _Mark | None) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _sentence(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's own words without quoted pieces of the file, which may be part of a secret."""
    words = ", ".join(part for part in (error.context, error.problem) if part)
    words = re.sub(r"'[^'\s<\\]{2,}'", "a word", words)
    hint = "Quote values that begin with * & % @ or `, that hold ': ', or that hold ${NAME} inside { }"
    return f"not valid YAML: {words}. {hint}"


class _Composer:
    """Builds nodes from events with a stack of its own."""

    def __init__(self) -> None:
        self._anchors: dict[str, Node] = {}
        self._open: list[tuple[str | None, Place, list[Node], bool]] = []
        self._aliases = 0
        self._aliased_nodes = 0
        self._root: Node | None = None

    def compose(self, events: Iterator[yaml.Event]) -> Node | None:
        for event in events:
            self._on_event(event)
        return self._root

    def _on_event(self, event: yaml.Event) -> None:
        place = _place_of(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._on_scalar(event, place)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._on_start(event, place)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._on_end()
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._resolve(event.anchor, place), None)
        elif isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            raise YamlError(place, "a second document begins here: settings are one document, remove the ---")

    def _on_scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        tagged = event.tag is not None and event.tag != "!"
        if tagged and event.tag != _TEXT_TAG:
            raise YamlError(place, "YAML tags (!name) are not allowed in settings: write the plain value")
        plain = not event.style and not event.tag
        self._add(Scalar(place, event.value, plain), event.anchor)

    def _on_start(self, event: yaml.CollectionStartEvent, place: Place) -> None:
        if event.tag is not None:
            raise YamlError(place, "YAML tags (!name) are not allowed in settings: write the plain value")
        if len(self._open) >= MAX_DEPTH:
            raise YamlError(place, f"nested deeper than {MAX_DEPTH} levels: settings need six")
        self._open.append((event.anchor, place, [], isinstance(event, yaml.MappingStartEvent)))

    def _on_end(self) -> None:
        anchor, place, children, is_mapping = self._open.pop()
        size = 1 + sum(child.size for child in children)
        if is_mapping:
            pairs = list(zip(children[::2], children[1::2], strict=True))
            self._add(Mapping(place, pairs, size), anchor)
        else:
            self._add(Sequence(place, children, size), anchor)

    def _resolve(self, anchor: str | None, place: Place) -> Node:
        node = self._anchors.get(anchor or "")
        if node is None:
            raise YamlError(place, "an alias without its anchor above it: quote a value that begins with *")
        self._aliases += 1
        self._aliased_nodes += node.size
        if self._aliases > MAX_ALIASES or self._aliased_nodes > MAX_ALIASED_NODES:
            raise YamlError(
                place, f"more than {MAX_ALIASES} aliases, or {MAX_ALIASED_NODES} values behind them: write them out"
            )
        return node

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1][2].append(node)
        else:
            self._root = node
