"""The key table. See keytable.pyi for the contract, keytable.pxd for the layout.

Owns: building, opening, searching and merging tables, and the hash tree over their rows. Does not own: files,
signatures, what an index means. Concurrency: nothing here changes after it was made; searches need no lock.

Steps that a presented key could steer are arithmetic on masks (all ones or zero), so that there is no branch to time.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memcmp, memcpy, memset

from hashlib import blake2b
from typing import NamedTuple

cdef extern from *:
    """
    #include <endian.h>
    #include <stdint.h>
    #include <string.h>

    static inline uint64_t fp_get_be64(const unsigned char *p) { uint64_t x; memcpy(&x, p, 8); return be64toh(x); }
    static inline uint64_t fp_get_le64(const unsigned char *p) { uint64_t x; memcpy(&x, p, 8); return le64toh(x); }
    static inline uint32_t fp_get_le32(const unsigned char *p) { uint32_t x; memcpy(&x, p, 4); return le32toh(x); }
    static inline void fp_put_le64(unsigned char *p, uint64_t x) { x = htole64(x); memcpy(p, &x, 8); }
    static inline void fp_put_le32(unsigned char *p, uint32_t x) { x = htole32(x); memcpy(p, &x, 4); }

    /* All ones when x is not zero. */
    static inline uint64_t fp_mask(uint64_t x) { return (uint64_t)0 - ((x | ((uint64_t)0 - x)) >> 63); }
    """
    uint64_t fp_get_be64(Bytes p) noexcept nogil
    uint64_t fp_get_le64(Bytes p) noexcept nogil
    uint32_t fp_get_le32(Bytes p) noexcept nogil
    void fp_put_le64(unsigned char* p, uint64_t x) noexcept nogil
    void fp_put_le32(unsigned char* p, uint32_t x) noexcept nogil
    void fp_prefetch "__builtin_prefetch"(const void* p) noexcept nogil
    uint64_t fp_mask(uint64_t x) noexcept nogil

cdef enum:
    HEADER = 128
    ROW = 96
    PAGE = 48 << 10  # hashlib lets other threads run after each
    MOST_FETCHED = 16
    INDEXES = 48     # of tenant, team, user, grant and plan, in a row
    FLAGS = 68
    FROM = 72
    UNTIL = 80
    CLASS = 88
    WORST_CLASS = 2
    KIND_BASE = 0
    KIND_DELTA = 1
    IS_TOMBSTONE = 1
    IS_DISABLED = 2
    IS_INSIGHT = 4
    ROOT_AT = 80
    NO_INDEX = 0xFFFFFFFF

cdef uint64_t MOST = 1 << 26

LAYOUT = 1
HEADER_SIZE = HEADER
ROW_SIZE = ROW
PAGE_SIZE = PAGE
MOST_ROWS = MOST
NONE = <uint64_t> NO_INDEX
TOMBSTONE, DISABLED, INSIGHT = IS_TOMBSTONE, IS_DISABLED, IS_INSIGHT
# Small negative numbers are made once by the interpreter, so that which of them is returned cannot be timed either.
UNKNOWN, REVOKED, SWITCHED_OFF, EXPIRED, NOT_YET, DAMAGED = -1, -2, -3, -4, -5, -6

cdef bytes MAGIC = b"FPKEYTAB"
cdef unsigned char[ROW] NO_ROW
memset(NO_ROW, 0, ROW)


class KeyTableError(ValueError):
    pass


class Row(NamedTuple):
    digest: bytes
    key_id: bytes
    tenant: int = 0
    team: int = NONE
    user: int = NONE
    grant: int = 0
    plan: int = NONE
    flags: int = 0
    valid_from: int = 0
    valid_until: int = 0
    data_class: int = WORST_CLASS


class Bounds(NamedTuple):
    tenants: int
    teams: int
    users: int
    grants: int
    plans: int


# --- searching -------------------------------------------------------------------------------------------------------

cdef inline uint64_t when(bint true) noexcept nogil:
    """A condition as a mask."""
    return <uint64_t> 0 - <uint64_t> true


cdef inline uint64_t choose(uint64_t mask, uint64_t a, uint64_t b) noexcept nogil:
    return (a & mask) | (b & ~mask)


cdef inline uint64_t is_below(Bytes row, uint64_t high, uint64_t low) noexcept nogil:
    """1 when the first 16 bytes of the row's digest are below those presented."""
    cdef uint64_t first = fp_get_be64(row)
    cdef uint64_t second = fp_get_be64(row + 8)
    return <uint64_t> (first < high) | (<uint64_t> (first == high) & <uint64_t> (second < low))


cdef inline uint64_t seek(Span* span, Bytes digest) noexcept nogil:
    """The only row that may have this digest. There must be rows. As many steps as `width` has bits.

    The rows of a window are fetched together: one after the other, each step would wait for memory.
    """
    cdef uint64_t high = fp_get_be64(digest)
    cdef uint64_t low = fp_get_be64(digest + 8)
    cdef uint64_t first = fp_get_le32(span.directory + 4 * (high >> span.shift))
    cdef uint64_t left = span.width
    cdef uint64_t last = span.count - span.width
    cdef uint64_t row, half
    first = choose(when(first < last), first, last)
    for row in range(left if left < MOST_FETCHED else MOST_FETCHED):
        fp_prefetch(span.rows + (first + row) * ROW)
    while left > 1:
        half = left >> 1
        first += half & when(is_below(span.rows + (first + half - 1) * ROW, high, low))
        left -= half
    return first + (is_below(span.rows + first * ROW, high, low) & <uint64_t> (first + 1 < span.count))


cdef inline uint64_t same(Bytes a, Bytes b) noexcept nogil:
    """A mask: whether two digests are the same, all 32 bytes of them."""
    cdef uint64_t differ = 0
    cdef int at
    for at in range(0, 32, 8):
        differ |= fp_get_le64(a + at) ^ fp_get_le64(b + at)
    return ~fp_mask(differ)


cdef inline uint64_t is_outside(Bytes row, Most* most) noexcept nogil:
    """A mask: whether an index points beyond the policy. Tenant and grant must be there, the others need not."""
    cdef uint64_t outside = when(row[CLASS] > WORST_CLASS)
    cdef uint64_t index
    cdef int which
    for which in range(5):
        index = fp_get_le32(row + INDEXES + 4 * which)
        outside |= when(index >= most.index[which]) & (when(index != NO_INDEX) | when(which == 0) | when(which == 3))
    return outside


cdef inline uint64_t judge(Bytes row, Most* most, int64_t now) noexcept nogil:
    """0 when the key may be used, else the reason as two's complement. What is asked first here counts least."""
    cdef uint64_t flags = fp_get_le32(row + FLAGS)
    cdef int64_t begins = <int64_t> fp_get_le64(row + FROM)
    cdef int64_t ends = <int64_t> fp_get_le64(row + UNTIL)
    cdef uint64_t verdict = 0
    verdict = choose(when(now < begins), <uint64_t> -5, verdict)
    verdict = choose(when(ends != 0) & when(now >= ends), <uint64_t> -4, verdict)
    verdict = choose(fp_mask(flags & IS_DISABLED), <uint64_t> -3, verdict)
    verdict = choose(is_outside(row, most), <uint64_t> -6, verdict)
    return choose(fp_mask(flags & IS_TOMBSTONE), <uint64_t> -2, verdict)


cdef inline uint64_t search(Span* span, Most* most, Bytes digest, int64_t now, uint64_t* row) noexcept nogil:
    """A mask: whether the digest is there. `row` is then its index, or the reason against it."""
    cdef uint64_t at, verdict
    cdef Bytes found
    if span.count == 0:
        row[0] = 0
        return 0
    at = seek(span, digest)
    found = span.rows + at * ROW
    verdict = judge(found, most, now)
    row[0] = choose(fp_mask(verdict), verdict, at)
    return same(found, digest)


cdef inline uint64_t accepted(uint64_t result) noexcept nogil:
    """A mask: whether a result is a row, not a reason."""
    return ~(<uint64_t> 0 - (result >> 63))


cdef inline int directory_bits(uint64_t count) noexcept nogil:
    """The directory has 2 << bits entries: two to four rows for each."""
    cdef int bits = 0
    while count >> (bits + 3):
        bits += 1
    return bits


cdef inline uint64_t table_size(uint64_t count) noexcept nogil:
    return HEADER + count * ROW + (<uint64_t> 8 << directory_bits(count))


cdef Span span_of(Bytes rows, uint64_t count, uint64_t deepest) noexcept nogil:
    """Of rows and the directory behind them; `deepest` may be anything."""
    cdef Span span
    span.rows = rows
    span.count = count
    span.directory = rows + count * ROW
    span.shift = 63 - directory_bits(count)
    span.width = 1 if deepest == 0 else deepest if deepest < count else count
    return span


cdef Most no_bounds() noexcept nogil:
    cdef Most most
    cdef int which
    for which in range(5):
        most.index[which] = NO_INDEX
    return most


cdef inline long index_at(Bytes row, int which) noexcept nogil:
    cdef uint32_t index
    if row == NULL:
        return -1
    index = fp_get_le32(row + INDEXES + 4 * which)
    return -1 if index == NO_INDEX else <long> index


cdef object decode(Bytes row):
    return Row(
        row[:32], row[32:48],
        *[fp_get_le32(row + INDEXES + 4 * which) for which in range(5)],
        fp_get_le32(row + FLAGS), <int64_t> fp_get_le64(row + FROM), <int64_t> fp_get_le64(row + UNTIL), row[CLASS],
    )


cdef Bytes digest_of(bytes digest) except NULL:
    if len(digest) != 32:
        raise ValueError(f"a digest has 32 bytes, not {len(digest)}")
    return <Bytes> PyBytes_AS_STRING(digest)


@cython.final
cdef class KeyTable:
    @staticmethod
    def open(buffer):
        cdef KeyTable table = KeyTable.__new__(KeyTable)
        cdef Bytes header
        cdef uint64_t count
        PyObject_GetBuffer(buffer, &table.view, PyBUF_SIMPLE)
        table.held = True
        header = <Bytes> table.view.buf
        count = check_header(header, table.view.len)
        table.span = span_of(header + HEADER, count, fp_get_le32(header + 28))
        table.most = no_bounds()
        table.is_delta = fp_get_le32(header + 24) == KIND_DELTA
        table.pepper_id = header[32:40].decode("ascii")
        table.base_root = header[48:80]
        table.root = header[ROOT_AT:ROOT_AT + 32]
        return table

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    def __len__(self):
        return self.span.count

    cdef long find_row(self, Bytes digest, int64_t now_ms) noexcept nogil:
        cdef uint64_t row = 0
        cdef uint64_t found = search(&self.span, &self.most, digest, now_ms, &row)
        return <long> choose(found, row, <uint64_t> -1)

    cdef Bytes at(self, long row) noexcept nogil:
        if row < 0 or <uint64_t> row >= self.span.count:
            return NULL
        return self.span.rows + row * ROW

    def find(self, bytes digest not None, int64_t now_ms):
        return self.find_row(digest_of(digest), now_ms)

    def index_of(self, bytes digest not None):
        cdef Bytes wanted = digest_of(digest)
        cdef uint64_t at
        if self.span.count == 0:
            return -1
        at = seek(&self.span, wanted)
        return at if same(self.span.rows + at * ROW, wanted) else -1

    def row(self, long index):
        cdef Bytes row = self.at(index)
        if row == NULL:
            raise IndexError(index)
        return decode(row)


@cython.final
cdef class KeyLookup:
    def __init__(self, KeyTable base not None, KeyTable delta=None, bounds=None):
        if base.is_delta:
            raise KeyTableError("a delta stands where the base belongs")
        if delta is not None and (not delta.is_delta or delta.base_root != base.root):
            raise KeyTableError("the delta changes another base")
        if delta is not None and delta.pepper_id != base.pepper_id:
            raise KeyTableError("base and delta were hashed under different peppers")
        self.base = base
        self.delta = delta
        self.under = base.span
        self.over = span_of(NO_ROW, 0, 0) if delta is None else delta.span
        self.most = no_bounds()
        if bounds is not None:
            for which, most in enumerate(bounds):
                self.most.index[which] = min(most, NONE)

    def __len__(self):
        return self.under.count + self.over.count

    cdef long find_row(self, Bytes digest, int64_t now_ms) noexcept nogil:
        cdef uint64_t under = 0
        cdef uint64_t over = 0
        cdef uint64_t is_under = search(&self.under, &self.most, digest, now_ms, &under)
        cdef uint64_t is_over = search(&self.over, &self.most, digest, now_ms, &over)
        over += self.under.count & accepted(over)
        return <long> choose(is_over, over, choose(is_under, under, <uint64_t> -1))

    cdef Bytes at(self, long row) noexcept nogil:
        cdef uint64_t index = <uint64_t> row
        if row < 0 or index >= self.under.count + self.over.count:
            return NULL
        if index < self.under.count:
            return self.under.rows + index * ROW
        return self.over.rows + (index - self.under.count) * ROW

    def find(self, bytes digest not None, int64_t now_ms):
        return self.find_row(digest_of(digest), now_ms)

    def row(self, long index):
        cdef Bytes row = self.at(index)
        if row == NULL:
            raise IndexError(index)
        return decode(row)

    cpdef long tenant(self, long row) noexcept:
        return index_at(self.at(row), 0)

    cpdef long team(self, long row) noexcept:
        return index_at(self.at(row), 1)

    cpdef long user(self, long row) noexcept:
        return index_at(self.at(row), 2)

    cpdef long grant(self, long row) noexcept:
        return index_at(self.at(row), 3)

    cpdef long plan(self, long row) noexcept:
        return index_at(self.at(row), 4)

    cpdef long flags(self, long row) noexcept:
        cdef Bytes found = self.at(row)
        return -1 if found == NULL else <long> fp_get_le32(found + FLAGS)

    cpdef long data_class(self, long row) noexcept:
        cdef Bytes found = self.at(row)
        return -1 if found == NULL else found[CLASS]

    cpdef int64_t valid_until(self, long row) noexcept:
        cdef Bytes found = self.at(row)
        return -1 if found == NULL else <int64_t> fp_get_le64(found + UNTIL)

    cpdef bytes key_id(self, long row):
        cdef Bytes found = self.at(row)
        return b"" if found == NULL else found[32:48]


cdef uint64_t check_header(Bytes header, Py_ssize_t size) except? 0:
    """The number of rows. Raises KeyTableError unless they and the header are all there is."""
    cdef uint64_t count
    if size < HEADER or memcmp(header, PyBytes_AS_STRING(MAGIC), 8) != 0:
        raise KeyTableError("this is no key table")
    if fp_get_le32(header + 8) != <uint32_t> LAYOUT or fp_get_le32(header + 12) != ROW:
        raise KeyTableError("the key table has another layout: publish again with this version")
    count = fp_get_le64(header + 16)
    if count > MOST or <uint64_t> size != table_size(count):
        raise KeyTableError(f"the key table says {count} rows, and is {size} bytes long")
    if fp_get_le32(header + 24) > KIND_DELTA:
        raise KeyTableError("the key table is neither base nor delta")
    for at in range(32, 40):
        if not 0x21 <= header[at] <= 0x7E:
            raise KeyTableError("the key table names no pepper")
    return count


# --- building --------------------------------------------------------------------------------------------------------

cdef class _Rows:
    """Rows that grow, outside of the interpreter's memory until they are sorted."""

    cdef unsigned char* data
    cdef uint64_t count
    cdef uint64_t room

    def __dealloc__(self):
        free(self.data)

    cdef unsigned char* add(self) except NULL:
        """A new row, all zero."""
        cdef unsigned char* row
        if self.count == MOST:
            raise KeyTableError(f"a key table holds at most {MOST} rows")
        if self.count == self.room:
            self.grow(2 * self.room if self.room else 64)
        row = self.data + self.count * ROW
        memset(row, 0, ROW)
        self.count += 1
        return row

    cdef int grow(self, uint64_t room) except -1:
        cdef unsigned char* data = <unsigned char*> realloc(self.data, room * ROW)
        if data == NULL:
            raise MemoryError()
        self.data = data
        self.room = room
        return 0


cdef int compare_rows(const void* a, const void* b) noexcept nogil:
    return memcmp(a, b, 32)


cdef int encode(unsigned char* row, object given) except -1:
    digest, key_id, tenant, team, user, grant, plan, flags, begins, ends, data_class = given
    if len(digest) != 32 or len(key_id) != 16:
        raise KeyTableError("a key has a digest of 32 bytes and an id of 16")
    try:
        memcpy(row, PyBytes_AS_STRING(<bytes?> digest), 32)
        memcpy(row + 32, PyBytes_AS_STRING(<bytes?> key_id), 16)
        fp_put_le32(row + 48, tenant)
        fp_put_le32(row + 52, team)
        fp_put_le32(row + 56, user)
        fp_put_le32(row + 60, grant)
        fp_put_le32(row + 64, plan)
        fp_put_le32(row + FLAGS, flags)
        fp_put_le64(row + FROM, <uint64_t> <int64_t> begins)
        fp_put_le64(row + UNTIL, <uint64_t> <int64_t> ends)
        row[CLASS] = data_class
    except OverflowError:
        raise KeyTableError(f"key {bytes(key_id).hex()} has a number that does not fit") from None
    if begins < 0 or ends < 0 or data_class > WORST_CLASS or tenant == NONE or grant == NONE:
        raise KeyTableError(f"key {bytes(key_id).hex()} has a time, data class, tenant or grant that cannot be")
    return 0


cdef int64_t write_directory(unsigned char* directory, Bytes rows, uint64_t count) noexcept nogil:
    """For each beginning of a digest the first row not before it. The most rows of one beginning; -1 when out of order.
    """
    cdef int shift = 63 - directory_bits(count)
    cdef uint64_t entries = <uint64_t> 2 << directory_bits(count)
    cdef uint64_t entry = 0
    cdef uint64_t begun = 0
    cdef uint64_t deepest = 0
    cdef uint64_t row, wanted
    for row in range(count):
        if row and memcmp(rows + (row - 1) * ROW, rows + row * ROW, 16) >= 0:
            return -1
        wanted = fp_get_be64(rows + row * ROW) >> shift
        if entry <= wanted:
            begun = row
        while entry <= wanted:
            fp_put_le32(directory + 4 * entry, <uint32_t> row)
            entry += 1
        deepest = row - begun + 1 if row - begun + 1 > deepest else deepest
    while entry < entries:
        fp_put_le32(directory + 4 * entry, <uint32_t> count)
        entry += 1
    return <int64_t> deepest


cdef bytes finish(unsigned char* rows, uint64_t count, str pepper_id, bytes base_root):
    """The table of rows in order. Raises KeyTableError when two have the same first half of a digest."""
    cdef bytes pepper = pepper_id.encode()
    cdef bytes table
    cdef unsigned char* out
    cdef int64_t deepest
    if len(pepper) != 8 or len(base_root) not in (0, 32):
        raise KeyTableError("a pepper id has 8 characters, a root 32 bytes")
    table = PyBytes_FromStringAndSize(NULL, table_size(count))
    out = <unsigned char*> PyBytes_AS_STRING(table)
    with nogil:
        if count:
            memcpy(out + HEADER, rows, count * ROW)
        deepest = write_directory(out + HEADER + count * ROW, rows, count)
    if deepest < 0:
        raise KeyTableError("two keys have the same digest")
    memset(out, 0, HEADER)
    memcpy(out, PyBytes_AS_STRING(MAGIC), 8)
    fp_put_le32(out + 8, LAYOUT)
    fp_put_le32(out + 12, ROW)
    fp_put_le64(out + 16, count)
    fp_put_le32(out + 24, KIND_DELTA if base_root else KIND_BASE)
    fp_put_le32(out + 28, <uint32_t> deepest)
    memcpy(out + 32, PyBytes_AS_STRING(pepper), 8)
    memcpy(out + 48, PyBytes_AS_STRING(base_root), len(base_root))
    memcpy(out + ROOT_AT, PyBytes_AS_STRING(compute_root(table)), 32)
    return table


def build(rows, str pepper_id not None, bytes base_root not None=b""):
    cdef _Rows made = _Rows()
    for row in rows:
        encode(made.add(), row)
    if made.count:
        with nogil:
            qsort(made.data, made.count, ROW, compare_rows)
    return finish(made.data, made.count, pepper_id, base_root)


def merge(KeyTable base not None, KeyTable delta not None):
    cdef _Rows made = _Rows()
    KeyLookup(base, delta)
    made.grow(base.span.count + delta.span.count + 1)
    with nogil:
        made.count = merge_rows(made.data, &base.span, &delta.span)
    return finish(made.data, made.count, base.pepper_id, b"")


cdef uint64_t merge_rows(unsigned char* out, Span* under, Span* over) noexcept nogil:
    """The number of rows written to `out`, which has room for both."""
    cdef uint64_t i = 0
    cdef uint64_t j = 0
    cdef uint64_t made = 0
    cdef Bytes row
    cdef int order
    while i < under.count or j < over.count:
        if i == under.count:
            order = 1
        elif j == over.count:
            order = -1
        else:
            order = memcmp(under.rows + i * ROW, over.rows + j * ROW, 32)
        row = under.rows + i * ROW if order < 0 else over.rows + j * ROW
        i += order <= 0
        j += order >= 0
        if not fp_get_le32(row + FLAGS) & IS_TOMBSTONE:
            memcpy(out + made * ROW, row, ROW)
            made += 1
    return made


# --- the hash tree ---------------------------------------------------------------------------------------------------
# Leaves, inner nodes and the root are hashed under different names, so that none can be passed off as another.

def page_hash(page):
    return blake2b(page, digest_size=32, person=b"fp keys page").digest()


def root_of(bytes header not None, list page_hashes not None):
    cdef list level = page_hashes
    if len(header) != HEADER:
        raise ValueError(f"a header has {HEADER} bytes, not {len(header)}")
    while len(level) > 1:
        level = [
            blake2b(b"".join(level[at:at + 2]), digest_size=32, person=b"fp keys node").digest()
            for at in range(0, len(level), 2)
        ]
    blank = header[:ROOT_AT] + bytes(32) + header[ROOT_AT + 32:]
    return blake2b(blank + b"".join(level), digest_size=32, person=b"fp keys root").digest()


def compute_root(table):
    view = memoryview(table).cast("B")
    pages = [page_hash(view[at:at + PAGE]) for at in range(HEADER, len(view), PAGE)]
    return root_of(bytes(view[:HEADER]), pages)
