"""The key table: callers' keys as fixed rows sorted by digest, looked up where they lie.

A table is one buffer, usually a memory map. Opening it looks at its 128 bytes of header and makes no object per row.
A directory over the first bits of digests leads to a window of rows, of one width for the whole table, so a search
takes the same steps for every digest. Nothing in a buffer is trusted: rows that no builder writes are not found or
refused, and no number in it leads outside. That a table is the one that was signed is for the caller to check:
`page_hash` over its pages and `root_of` give its root.

Times are Unix milliseconds; 0 in a row leaves that end open. Tables and lookups never change, so any thread may use
them. Indexes point into the policy that was published with the table; `NONE` means: none.
"""

from collections.abc import Iterable
from typing import NamedTuple, final

from typing_extensions import Buffer

LAYOUT: int
HEADER_SIZE: int
ROW_SIZE: int

PAGE_SIZE: int
"""Bytes after the header that one leaf of the Merkle tree covers; the last page may be shorter."""

MOST_ROWS: int
NONE: int

TOMBSTONE: int
"""Flag: the key was revoked. In a delta it takes a row of the base away."""
DISABLED: int
"""Flag: the key exists, and does not work until it is enabled."""
INSIGHT: int
"""Flag: the caller sees how the gateway handled its requests."""

UNKNOWN: int
"""No such digest."""
REVOKED: int
SWITCHED_OFF: int
EXPIRED: int
NOT_YET: int
DAMAGED: int
"""The row points outside the policy, or has a data class that does not exist."""

class KeyTableError(ValueError):
    """A buffer is no key table, or rows cannot be one. The message says why."""

class Row(NamedTuple):
    """One key. `digest`: the 32 bytes of its keyed hash; `key_id`: 16 bytes that name it everywhere else."""

    digest: bytes
    key_id: bytes
    tenant: int = 0
    team: int = ...
    user: int = ...
    grant: int = 0
    plan: int = ...
    flags: int = 0
    valid_from: int = 0
    valid_until: int = 0
    data_class: int = 2
    """Strictest class of data the key may send: 0 (P0) to 2 (P2)."""

class Bounds(NamedTuple):
    """How many of each the policy holds. A row that points beyond is refused as DAMAGED."""

    tenants: int
    teams: int
    users: int
    grants: int
    plans: int

def build(rows: Iterable[Row], pepper_id: str, base_root: bytes = b"") -> bytes:
    """A table of `rows` in any order; with `base_root` a delta to the base of that root.

    Raises KeyTableError for a row that does not fit, or two of one digest.
    """

def merge(base: KeyTable, delta: KeyTable) -> bytes:
    """A new base: the delta's rows in place of the base's, tombstones and what they take away left out.

    Raises KeyTableError when the delta is to another base, or either is not sorted.
    """

def page_hash(page: Buffer) -> bytes:
    """32 bytes for one page: a leaf of the tree. hashlib lets other threads run meanwhile."""

def root_of(header: bytes, page_hashes: list[bytes]) -> bytes:
    """The root, which binds the header (the root in it left out) and all pages in order."""

def compute_root(table: Buffer) -> bytes:
    """The root that a table's bytes have, whatever its header claims. One call: 10 ms for 100,000 rows."""

@final
class KeyTable:
    """One buffer with a table in it."""

    pepper_id: str
    root: bytes
    """What the header claims. Compare it with a signed one, and the rows with it."""
    base_root: bytes
    """Root of the base that a delta changes; 32 zero bytes for a base."""
    is_delta: bool

    @staticmethod
    def open(buffer: Buffer) -> KeyTable:
        """Checks header and length, in constant time; holds the buffer. Raises KeyTableError."""

    def __len__(self) -> int: ...
    def find(self, digest: bytes, now_ms: int) -> int:
        """As `KeyLookup.find`, without a delta and without bounds."""

    def index_of(self, digest: bytes) -> int:
        """The row with this digest whatever its state; -1 when there is none."""

    def row(self, index: int) -> Row:
        """One row, decoded. Raises IndexError."""

@final
class KeyLookup:
    """A base and the delta over it, as one: a row of the delta wins. Its rows are numbered after the base's."""

    base: KeyTable
    delta: KeyTable | None

    def __init__(self, base: KeyTable, delta: KeyTable | None = None, bounds: Bounds | None = None) -> None:
        """Raises KeyTableError when the two do not belong together."""

    def __len__(self) -> int:
        """Rows of both."""

    def find(self, digest: bytes, now_ms: int) -> int:
        """The row of the key, or a negative reason: UNKNOWN, REVOKED, SWITCHED_OFF, EXPIRED, NOT_YET, DAMAGED.

        Takes the same steps for each. `digest`: 32 bytes. Raises ValueError for another length.
        """

    def row(self, index: int) -> Row:
        """One row, decoded. Raises IndexError."""

    def tenant(self, row: int) -> int:
        """An index into the policy. This and the following: -1 for none, or where there is no such row."""

    def team(self, row: int) -> int: ...
    def user(self, row: int) -> int: ...
    def grant(self, row: int) -> int: ...
    def plan(self, row: int) -> int: ...
    def flags(self, row: int) -> int: ...
    def data_class(self, row: int) -> int: ...
    def valid_until(self, row: int) -> int:
        """Unix ms; 0: open."""

    def key_id(self, row: int) -> bytes:
        """16 bytes; empty where there is no such row."""
