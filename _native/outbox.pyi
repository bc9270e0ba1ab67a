"""The outbox: segments that one process appends records to and that others read, live and after any crash.

A segment is a memory-mapped file: a header (`fastpath.outbox.header`), a seal, then records of 1 to MOST bytes, each
with its length, a CRC-32C and padding to 8 bytes (docs/reference/outbox.md). A record is visible once whole. The token
(64 random bits of one writer's life) is in every checksum, so a record is one only where it was written.

A Segment and an Appender belong to one process; an append and what its sync thread does are kept apart by the
interpreter lock. `parse`, `find` and `unseal` are pure.
"""

from typing import final

from typing_extensions import Buffer

LAYOUT: int
"""Version of the layout of records."""
SEAL: int
"""Offset of the seal: 64 bits, little-endian, 0 while records may follow."""
FIRST: int
"""Offset of the first record."""
HEAD: int
"""Bytes of a record before its payload."""
ALIGN: int
"""Records begin at multiples of it."""
MOST: int
"""Bytes of a payload."""
LARGEST: int
"""Bytes of a segment."""

def crc32c(data: Buffer, value: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, going on from `value`, the checksum of what comes before."""

def crc32c_plain(data: Buffer, value: int = 0) -> int:
    """The same without the processor's instruction, as where there is none."""

def parse(data: Buffer, offset: int, token: int, sequence: int, most: int) -> tuple[list[tuple[int, bytes, int]], int]:
    """The records in `data`, which was copied from `offset` of a segment: number, payload, and offset behind each.

    And why it stopped: 0 no record, or none yet; -1 `data` ends, perhaps inside a record, or there are `most`; -2 a
    damaged record. Numbers count the records of a segment from 1, modulo 2**24.
    """

def find(data: Buffer, offset: int, token: int, sequence: int) -> int:
    """The offset of the first whole record in `data`, which was copied from `offset` of a segment; -1: none."""

def unseal(word: int, token: int, sequence: int) -> tuple[int, bool] | None:
    """Where a sealed segment's records end, and whether its writer ended with it; None when this is no seal."""

def write_zeros(fd: int, start: int, end: int) -> int:
    """Writes zeros to a file, a page at a time. Gives `end`. Blocks, without the interpreter lock. Raises OSError."""

@final
class Segment:
    """A segment that this process appends to. In Cython: `put`."""

    def __init__(self, fd: int, size: int, token: int, sequence: int) -> None:
        """Maps a file of `size` bytes, all of them allocated and zero behind the header.

        Takes the descriptor over. Raises OSError when it cannot be mapped, ValueError unless `size` is a multiple of
        4096 from 8192 to LARGEST; then the descriptor is still the caller's.
        """

    @property
    def fd(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def tail(self) -> int:
        """Where the next record goes."""

    @property
    def count(self) -> int:
        """Records in it."""

    @property
    def durable(self) -> int:
        """What lies before this offset was synced."""

    @property
    def durable_count(self) -> int:
        """Records that were synced."""

    @property
    def bad(self) -> bool:
        """A sync failed, and what is behind `durable` may never reach the disk: no later sync would tell."""

    @property
    def sealed(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def sync(self) -> None:
        """Makes what was appended so far durable. Blocks, without the interpreter lock.

        Raises OSError when that failed (the segment is bad from then on), ValueError when it is bad or closed.
        """

    def condemn(self) -> None:
        """Bad, the whole of it."""

    def seal(self, last: bool = False) -> None:
        """Tells readers that nothing more follows: in this segment, or (`last`) from this writer. Once."""

    def close(self) -> None:
        """Unmaps it and closes its descriptor. Nothing must be appended any more."""

@final
class Appender:
    """Fills segments: the active one, then the one that was offered. In Cython: `append`, `append_opening` and
    `append_closing`, which take a pointer and a size.

    For each opening record, room for one closing record of `hold` bytes (its head included) is held until that comes
    or `let_go` is called. Other records never take it.
    """

    def __init__(self, hold: int = 512) -> None: ...
    def put(self, data: bytes) -> bool:
        """Appends a record. True: it survives the death of this process. False: there was no room, nothing was written.

        Never blocks. Longer than MOST, or empty, counts as no room.
        """

    def put_opening(self, data: bytes) -> bool:
        """Appends a record that a closing one will follow."""

    def put_closing(self, data: bytes) -> bool:
        """Appends the record that ends what an opening one began; whatever it gives, nothing is held any more."""

    def let_go(self) -> None:
        """An opening record's closing one will not come."""

    @property
    def roomy(self) -> bool:
        """Whether an opening record of `hold` bytes would find room."""

    def offer(self, segment: Segment) -> None:
        """Gives the segment to go on in; what bad ones hold beyond their last sync is written to it once more.

        Raises ValueError when there is one already, or one waits to be synced.
        """

    def mend(self) -> None:
        """After a failed sync: whatever was written later is bad, too, and a ready segment takes over as in `offer`."""

    def take_retired(self) -> Segment | None:
        """A segment that is full and synced, or bad and given up: to be closed."""

    def detach(self) -> list[Segment]:
        """All its segments, oldest first; it has none afterwards and refuses everything."""

    @property
    def active(self) -> Segment | None: ...
    @property
    def ready(self) -> Segment | None: ...
    @property
    def retired(self) -> Segment | None: ...
    @property
    def hold(self) -> int:
        """Bytes held for each closing record, a multiple of 8."""

    @property
    def held(self) -> int:
        """Opening records whose closing one has not come."""

    @property
    def appended(self) -> int: ...
    @property
    def refused(self) -> int:
        """Records that found no room."""

    @property
    def moved(self) -> int:
        """Records written once more, because the sync of their segment failed."""

    @property
    def stranded(self) -> int:
        """Records of bad segments that were too many to be written once more."""

def id_bytes(id: str) -> bytes:
    """The 16 bytes that the id of a request spells: `req_` and 32 hexadecimal digits. Raises ValueError."""
