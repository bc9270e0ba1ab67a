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

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def spans(self, body: bytes) -> dict[str, tuple[int, int]]:
        """Span of each field's value; JsonError before DuplicateField."""
        root = Reader(body).text()
        if root.kind != b"{":
            raise JsonError(root.start, "not an object")
        spans: dict[str, tuple[int, int]] = {}
        seen: set[str] = set()
        for spelt, key, value in _members(body, root):
            name = _fold(json.loads(body[key.start : key.end].decode()))
            if name not in self.names:
                continue
            if name in seen:
                raise DuplicateField(name, key.start)
            seen.add(name)
            if spelt == name.encode():
                spans[name] = (value.start, value.end)
        return spans

    def insertion(self, body: bytes) -> tuple[int, bool]:
        """Offset after the opening brace, and whether nothing follows it."""
        match = re.match(rb"[ \t\n\r]*\{(?P<empty>[ \t\n\r]*\})?", body)
        if match is None:
            raise JsonError(len(body) - len(body.lstrip(b" \t\n\r")), "not an object")
        return body.index(b"{") + 1, match["empty"] is not None
