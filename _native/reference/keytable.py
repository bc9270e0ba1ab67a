"""Pure twin of the key table: the layout written with struct, the searches step by step as the kernel takes them.

Owns: what a table means. Takes no care of time: a dictionary would tell the same rows of an undamaged table, and the
tests hold it against one.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from hmac import compare_digest
from itertools import groupby, pairwise
from typing import Final

from _native.keytable import (
    DAMAGED,
    DISABLED,
    EXPIRED,
    HEADER_SIZE,
    LAYOUT,
    MOST_ROWS,
    NONE,
    NOT_YET,
    PAGE_SIZE,
    REVOKED,
    ROW_SIZE,
    SWITCHED_OFF,
    TOMBSTONE,
    UNKNOWN,
    Bounds,
    KeyTableError,
    Row,
)

MAGIC: Final = b"FPKEYTAB"
_HEADER: Final = struct.Struct("<8sIIQII8s8x32s32s16x")
_ROW: Final = struct.Struct("<32s16sIIIIIIqqB7x")
_OPEN: Final = Bounds(NONE, NONE, NONE, NONE, NONE)


def directory_bits(count: int) -> int:
    """Bits of a digest that the directory knows."""
    return max(1, count.bit_length() - 2)


def build(rows: Iterable[Row], pepper_id: str, base_root: bytes = b"") -> bytes:
    ordered = sorted(rows)
    if any(first.digest[:16] == second.digest[:16] for first, second in pairwise(ordered)):
        raise KeyTableError("two keys have the same digest")
    bits = directory_bits(len(ordered))
    beginnings = [int.from_bytes(row.digest[:8], "big") >> 64 - bits for row in ordered]
    firsts = [bisect_left(beginnings, number) for number in range(1 << bits)]
    deepest = max((len(list(same)) for _, same in groupby(beginnings)), default=0)
    body = b"".join(_encode(row) for row in ordered) + struct.pack(f"<{len(firsts)}I", *firsts)
    kind, base = int(bool(base_root)), base_root or bytes(32)

    def header(root: bytes) -> bytes:
        return _HEADER.pack(MAGIC, LAYOUT, ROW_SIZE, len(ordered), kind, deepest, pepper_id.encode(), base, root)

    return header(compute_root(header(bytes(32)) + body)) + body


def _encode(row: Row) -> bytes:
    fits = len(row.digest) == 32 and len(row.key_id) == 16 and min(row.valid_from, row.valid_until) >= 0
    if not fits or row.data_class > 2 or NONE in (row.tenant, row.grant):
        raise KeyTableError("a key that cannot be")
    try:
        return _ROW.pack(*row)
    except struct.error as error:
        raise KeyTableError(str(error)) from None


def merge(base: "KeyTable", delta: "KeyTable") -> bytes:
    KeyLookup(base, delta)
    rows = {row.digest: row for table in (base, delta) for row in map(table.row, range(len(table)))}
    return build((row for row in rows.values() if not row.flags & TOMBSTONE), base.pepper_id)


def page_hash(page: bytes | memoryview) -> bytes:
    return blake2b(page, digest_size=32, person=b"fp keys page").digest()


def root_of(header: bytes, page_hashes: list[bytes]) -> bytes:
    level = page_hashes
    while len(level) > 1:
        pairs = (b"".join(level[at : at + 2]) for at in range(0, len(level), 2))
        level = [blake2b(pair, digest_size=32, person=b"fp keys node").digest() for pair in pairs]
    text = header[:80] + bytes(32) + header[112:] + b"".join(level)
    return blake2b(text, digest_size=32, person=b"fp keys root").digest()


def compute_root(table: bytes) -> bytes:
    pages = [page_hash(table[at : at + PAGE_SIZE]) for at in range(HEADER_SIZE, len(table), PAGE_SIZE)]
    return root_of(table[:HEADER_SIZE], pages)


class KeyTable:
    def __init__(self, buffer: bytes) -> None:
        if len(buffer) < HEADER_SIZE:
            raise KeyTableError("this is no key table")
        magic, layout, size, count, kind, deepest, pepper, self.base_root, self.root = _HEADER.unpack_from(buffer)
        if magic != MAGIC or layout != LAYOUT or size != ROW_SIZE or kind > 1 or count > MOST_ROWS:
            raise KeyTableError("another magic, layout or kind")
        if len(buffer) != HEADER_SIZE + count * ROW_SIZE + (4 << directory_bits(count)) or not all(
            0x21 <= letter <= 0x7E for letter in pepper
        ):
            raise KeyTableError("another length, or no pepper")
        self.is_delta = bool(kind)
        self.pepper_id = pepper.decode()
        self._buffer = buffer
        self._count: int = count
        self._width = min(max(deepest, 1), count)

    @staticmethod
    def open(buffer: bytes) -> "KeyTable":
        return KeyTable(buffer)

    def __len__(self) -> int:
        return self._count

    def row(self, index: int) -> Row:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return Row(*_ROW.unpack_from(self._buffer, HEADER_SIZE + index * ROW_SIZE))

    def seek(self, digest: bytes) -> int:
        """The only row that may have this digest: a binary search of fixed length from where the directory says."""
        entry = int.from_bytes(digest[:8], "big") >> 64 - directory_bits(self._count)
        at = HEADER_SIZE + self._count * ROW_SIZE + 4 * entry
        left = self._width
        first: int = min(int.from_bytes(self._buffer[at : at + 4], "little"), self._count - left)
        while left > 1:
            half = left >> 1
            first += half * self._is_below(first + half - 1, digest)
            left -= half
        return first + (self._is_below(first, digest) and first + 1 < self._count)

    def _is_below(self, index: int, digest: bytes) -> bool:
        at = HEADER_SIZE + index * ROW_SIZE
        return self._buffer[at : at + 16] < digest[:16]

    def index_of(self, digest: bytes) -> int:
        if not self._count:
            return -1
        at = self.seek(digest)
        return at if compare_digest(self.row(at).digest, digest) else -1

    def find(self, digest: bytes, now_ms: int, bounds: Bounds = _OPEN) -> int:
        if len(digest) != 32:
            raise ValueError("a digest has 32 bytes")
        at = self.index_of(digest)
        return UNKNOWN if at < 0 else judge(self.row(at), bounds, now_ms) or at


def judge(row: Row, bounds: Bounds, now_ms: int) -> int:
    """0 when the key may be used, else the reason."""
    if row.flags & TOMBSTONE:
        return REVOKED
    indexes = (row.tenant, row.team, row.user, row.grant, row.plan)
    needed = (True, False, False, True, False)
    facts = zip(indexes, bounds, needed, strict=True)
    if row.data_class > 2 or any(at >= min(most, NONE) and (must or at != NONE) for at, most, must in facts):
        return DAMAGED
    if row.flags & DISABLED:
        return SWITCHED_OFF
    if row.valid_until and now_ms >= row.valid_until:
        return EXPIRED
    return NOT_YET if now_ms < row.valid_from else 0


class KeyLookup:
    def __init__(self, base: KeyTable, delta: KeyTable | None = None, bounds: Bounds | None = None) -> None:
        if base.is_delta or (delta is not None and (not delta.is_delta or delta.base_root != base.root)):
            raise KeyTableError("the delta changes another base")
        if delta is not None and delta.pepper_id != base.pepper_id:
            raise KeyTableError("two peppers")
        self.base, self.delta, self._bounds = base, delta, bounds or _OPEN

    def __len__(self) -> int:
        return len(self.base) + len(self.delta or ())

    def find(self, digest: bytes, now_ms: int) -> int:
        if self.delta is not None and self.delta.index_of(digest) >= 0:
            over = self.delta.find(digest, now_ms, self._bounds)
            return over + len(self.base) if over >= 0 else over
        return self.base.find(digest, now_ms, self._bounds)

    def row(self, index: int) -> Row:
        if index < len(self.base) or self.delta is None:
            return self.base.row(index)
        return self.delta.row(index - len(self.base))
