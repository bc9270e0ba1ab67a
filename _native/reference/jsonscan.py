"""Twin of the JSON kernel: builds the whole tree by plain recursive descent, then looks things up in it.

Owns: the same answers as the kernel, by another method. `is_valid` is a third opinion, the standard library's.
Concurrency: pure functions.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

FRAME_USAGE, FRAME_ERROR, FRAME_NO_CHOICES, FRAME_FINISHED, FRAME_CONTENT = 1, 2, 4, 8, 16
MAX_DEPTH = 128

_SPACE = re.compile(rb"[ \t\n\r]*")
_CLOSERS = {b"{": b"}", b"[": b"]"}


class JsonError(ValueError):
    """Not acceptable, at byte `position`, because of `reason`."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"{reason} at byte {position}")
        self.position = position
        self.reason = reason


class DuplicateField(ValueError):
    """Decision field `name` occurs a second time at byte `position`."""

    def __init__(self, name: str, position: int) -> None:
        super().__init__(f"{name!r} is given twice, again at byte {position}")
        self.name = name
        self.position = position


class MisspeltField(ValueError):
    """Decision field `name` is in another letter case or has escapes, at byte `position`."""

    def __init__(self, name: str, position: int) -> None:
        super().__init__(f"{name!r} is spelt in another way at byte {position}")
        self.name = name
        self.position = position


@dataclass
class Node:
    """A value at bytes [start, end): its first byte is its kind; `items` are members or elements (key None)."""

    kind: bytes
    start: int
    end: int = -1
    items: "list[tuple[Node | None, Node]]" = field(default_factory=list)


class Reader:
    """Reads one text from left to right and stops at the first byte that no valid text could have there."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def peek(self) -> bytes:
        """The next byte, empty at the end."""
        return self.data[self.at : self.at + 1]

    def expect(self, allowed: bytes) -> bytes:
        """The next byte, which must be one of `allowed`."""
        byte = self.peek()
        if not byte or byte not in allowed:
            raise JsonError(self.at, "invalid JSON")
        self.at += 1
        return byte

    def space(self) -> None:
        match = _SPACE.match(self.data, self.at)
        self.at = match.end() if match else self.at

    def text(self) -> Node:
        self.space()
        node = self.value(0)
        self.space()
        if self.at != len(self.data):
            raise JsonError(self.at, "invalid JSON")
        return node

    def value(self, depth: int) -> Node:
        node = Node(self.peek(), self.at)
        if node.kind in _CLOSERS:
            self.container(node, depth)
        elif node.kind == b'"':
            self.string()
        elif node.kind in (b"n", b"t", b"f"):
            for letter in {b"n": b"null", b"t": b"true", b"f": b"false"}[node.kind]:
                self.expect(bytes([letter]))
        else:
            self.number()
        node.end = self.at
        return node

    def container(self, node: Node, depth: int) -> None:
        if depth == MAX_DEPTH:
            raise JsonError(self.at, f"deeper than {MAX_DEPTH}")
        closer = _CLOSERS[node.kind]
        self.at += 1
        self.space()
        if self.peek() == closer:
            self.at += 1
            return
        separator = b","
        while separator == b",":
            self.space()
            key = self.key() if closer == b"}" else None
            node.items.append((key, self.value(depth + 1)))
            self.space()
            separator = self.expect(b"," + closer)

    def key(self) -> Node:
        node = Node(self.peek(), self.at)
        self.string()
        node.end = self.at
        self.space()
        self.expect(b":")
        self.space()
        return node

    def digits(self) -> None:
        self.expect(b"0123456789")
        while self.peek().isdigit():
            self.at += 1

    def number(self) -> None:
        if self.peek() == b"-":
            self.at += 1
        if self.peek() == b"0":
            self.at += 1
        else:
            self.digits()
        if self.peek() == b".":
            self.at += 1
            self.digits()
        if self.peek() in (b"e", b"E"):
            self.at += 1
            if self.peek() in (b"+", b"-"):
                self.at += 1
            self.digits()

    def string(self) -> None:
        self.expect(b'"')
        while self.peek() != b'"':
            byte = self.peek()
            if not byte or byte < b" ":
                raise JsonError(self.at, "invalid JSON")
            if byte == b"\\":
                self.escape()
            elif byte >= b"\x80":
                self.at += self.character()
            else:
                self.at += 1
        self.at += 1

    def escape(self) -> None:
        self.at += 1
        if self.expect(b'"\\/bfnrtu') == b"u":
            for _ in range(4):
                self.expect(b"0123456789abcdefABCDEF")

    def character(self) -> int:
        """Length in bytes of the character here, as Python's own decoder sees it."""
        for length in (2, 3, 4):
            try:
                self.data[self.at : self.at + length].decode()
            except UnicodeDecodeError:
                continue
            return length
        raise JsonError(self.at, "invalid UTF-8")


def is_valid(data: bytes) -> bool:
    """What the standard library says, made strict, with the depth counted separately."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        text = data.decode()
        brackets = re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL)
        if _depth(brackets) > MAX_DEPTH:
            return False
        json.loads(text, parse_constant=refuse, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


def _depth(brackets: str) -> int:
    depth = deepest = 0
    for c in brackets:
        depth += (c in "{[") - (c in "}]")
        deepest = max(deepest, depth)
    return deepest


def scan(data: bytes) -> int:
    """Position of the first error or -1."""
    try:
        Reader(data).text()
    except JsonError as error:
        return error.position
    return -1


def _members(data: bytes, node: Node) -> Iterator[tuple[bytes, Node, Node]]:
    """Spelling of the key, key, value."""
    for key, value in node.items:
        if key is not None:
            yield data[key.start + 1 : key.end - 1], key, value


def frame_facts(data: bytes) -> tuple[int, str | None, bytes | None]:
    """Flags, the last top-level string "type" and the last "usage" that is not null, as spelt."""
    flags, kind, usage = 0, None, None
    for name, _, value in _members(data, Reader(data).text()):
        if name == b"usage" and value.kind != b"n":
            flags |= FRAME_USAGE
            usage = data[value.start : value.end]
        if name == b"error" and value.kind not in (b"n", b"f"):
            flags |= FRAME_ERROR
        if name == b"type" and value.kind == b'"':
            kind = data[value.start + 1 : value.end - 1].decode()
        if name == b"choices" and value.kind == b"[":
            flags |= FRAME_CONTENT if value.items else FRAME_NO_CHOICES
            flags |= FRAME_FINISHED if any(_finished(data, choice) for _, choice in value.items) else 0
    return flags, kind, usage


def _finished(data: bytes, choice: Node) -> bool:
    return any(name == b"finish_reason" and value.kind != b"n" for name, _, value in _members(data, choice))


def _fold(key: str) -> str:
    """Simple case folding onto ASCII: the only two outside letters that reach it are the long s and the Kelvin sign."""
    return "".join(c.lower() if c.isascii() else {"\u017f": "s", "\u212a": "k"}.get(c, c) for c in key)


class Fields:
    """Finds decision fields."""

    def __init__(self, names: Sequence[str], bulky: Sequence[str] = (), dialogue: str | None = None) -> None:
        self.names = tuple(names)
        self.bulky = frozenset(bulky)
        self.dialogue = dialogue

    def read(self, body: bytes) -> "Members":
        """JsonError before DuplicateField before MisspeltField."""
        root = Reader(body).text()
        if root.kind != b"{":
            raise JsonError(root.start, "not an object")
        members = Members(self, body, root.start + 1)
        seen: set[str] = set()
        misspelt: MisspeltField | None = None
        for spelt, key, value in _members(body, root):
            name = _fold(json.loads(body[key.start : key.end].decode()))
            if name not in self.names:
                continue
            if name in seen:
                raise DuplicateField(name, key.start)
            seen.add(name)
            members.found[name] = value
            if spelt != name.encode():
                misspelt = misspelt or MisspeltField(name, key.start)
        if misspelt is not None:
            raise misspelt
        return members


class Members:
    """The decision fields of one body."""

    def __init__(self, fields: Fields, body: bytes, opening: int) -> None:
        self.fields = fields
        self.body = body
        self.opening = opening
        self.found: dict[str, Node] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.found

    @property
    def plain(self) -> bool:
        """Whether the dialogue is just speakers and texts."""
        talk = self.found.get(self.fields.dialogue) if self.fields.dialogue is not None else None
        return talk is not None and bool(talk.items) and all(self._plain(message) for _, message in talk.items)

    def _plain(self, message: Node) -> bool:
        members = list(_members(self.body, message))
        names = [name for name, _, _ in members]
        texts = [name for name, _, value in members if value.kind == b'"']
        once = all(names.count(name) == texts.count(name) == 1 for name in (b"role", b"content"))
        return once and b"tool_calls" not in names and not any(b"\\" in name for name in names)

    def span(self, name: str) -> tuple[int, int] | None:
        """Where a field's value is."""
        value = self.found.get(name)
        return None if value is None else (value.start, value.end)

    def first(self, name: str) -> int:
        """The first byte of a field's value."""
        return self.body[self.found[name].start] if name in self.found else -1

    def text(self, name: str) -> bytes | None:
        """A field's value as spelt."""
        span = self.span(name)
        return None if span is None else self.body[slice(*span)]

    def spans(self) -> dict[str, tuple[int, int]]:
        """Where all of them are."""
        return {name: (value.start, value.end) for name, value in self.found.items()}

    def small(self) -> bytes:
        """The body with nothing but the fields that are not bulky, in the order of the names."""
        kept = [name for name in self.fields.names if name in self.found and name not in self.fields.bulky]
        return b"{" + b",".join(b'"%b":%b' % (name.encode(), self.text(name) or b"") for name in kept) + b"}"


class Numbers:
    """Finds a few whole numbers in a small object."""

    def __init__(self, paths: Sequence[str], foreign: str = "", barred: Sequence[str] = ()) -> None:
        self.paths = [path.split(".") for path in (*paths, *barred)]
        self.told = len(paths)
        self.foreign = foreign.encode()

    def read(self, text: bytes) -> tuple[int | None, ...] | None:
        """None when anything about it is unusual."""
        try:
            root = Reader(text).text()
        except JsonError:
            return None
        if root.kind != b"{" or root.start or root.end != len(text):
            return None
        return self._all(text, root)

    def _all(self, text: bytes, root: Node) -> tuple[int | None, ...] | None:
        found = [self._one(text, root, path) for path in self.paths]
        parents = {path[0]: len(path) for path in self.paths}
        for name, _, value in _members(text, root):
            unusual = parents.get(name.decode()) == 2 and value.kind not in (b"n", b"{")
            if self._is_odd(name) or unusual:
                return None
            if parents.get(name.decode()) == 2 and any(self._is_odd(inner) for inner, _, _ in _members(text, value)):
                return None
        barred = any(number is not None for number in found[self.told :])
        return None if -1 in found or barred else tuple(found[: self.told])

    def _is_odd(self, name: bytes) -> bool:
        return b"\\" in name or (self.foreign != b"" and name.startswith(self.foreign))

    def _one(self, text: bytes, node: Node, path: list[str]) -> int | None:
        """None: absent or null; -1: unusual."""
        values = [value for name, _, value in _members(text, node) if name == path[0].encode()]
        if len(path) == 2:
            told = [self._one(text, value, path[1:]) for value in values if value.kind == b"{"]
            told = [number for number in told if number is not None]
            return -1 if len(told) > 1 else (told[0] if told else None)
        spelt = [text[value.start : value.end] for value in values if value.kind != b"n"]
        if len(spelt) > 1 or any(re.fullmatch(rb"0|[1-9][0-9]{0,14}", number) is None for number in spelt):
            return -1
        return int(spelt[0]) if spelt else None
