"""The arena as Python sees it. See arena.pyi for the contract, arena.h for the layout and everything that is subtle."""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

import math
import mmap
import os
from hashlib import blake2b
from typing import NamedTuple

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        void* tp_new
        void* tp_vectorcall
        PyObject* tp_dict

    void PyType_Modified(type made)

cdef extern from "arena.h" nogil:
    ctypedef bint fp_bool "bool"

    ctypedef struct fp_region:
        uint64_t rows

    ctypedef struct fp_key:
        fp_atomic low
        fp_atomic high

    ctypedef struct fp_header:
        fp_atomic superseded
        fp_atomic refused[13]

    # What arena.pxd shows to other kernels as opaque.
    ctypedef struct fp_view "fp_map":
        fp_header* header
        uint32_t rows[13]
        uint64_t family_limit

    ctypedef struct fp_series "fp_row":
        fp_atomic meta
        fp_atomic value

    ctypedef struct fp_bins "fp_histogram":
        fp_series head

    ctypedef struct fp_worker:
        fp_atomic owner

    ctypedef struct fp_bucket:
        pass

    ctypedef struct fp_limit:
        fp_atomic use

    ctypedef struct fp_lease:
        fp_atomic word
        fp_atomic expires

    ctypedef struct fp_copies "fp_sample":
        fp_atomic turn

    ctypedef struct fp_taken:
        bint admitted
        int64_t retry_after
        int64_t left

    enum:
        FP_WORKERS
        FP_LANES
        FP_FAMILIES
        FP_SERIES
        FP_LANE_ROWS
        FP_HISTOGRAMS
        FP_BUCKETS
        FP_LIMITS
        FP_LEASES
        FP_CELLS
        FP_SAMPLES
        FP_BUDGETS
        FP_HOLDS
        FP_REGIONS
        FP_COUNTER
        FP_GAUGE
        FP_LANE
        FP_HISTOGRAM
        FP_FREE
        FP_HELD
        FP_TEXT
        FP_LAYOUT
        FP_LIMITS_LAYOUT

    const uint64_t FP_RANGE
    const uint64_t FP_COUNT

    uint64_t fp_load(fp_atomic* word)
    void fp_store(fp_atomic* word, uint64_t value)
    double fp_get_double(fp_atomic* word)
    bint fp_is_superseded(fp_map* map)
    uint64_t fp_plan(fp_region* regions)
    void fp_format(fp_map* map, void* base, fp_region* regions, uint64_t size, uint64_t family_limit,
                   const uint8_t* secret, const uint8_t* boot)
    const char* fp_attach(fp_map* map, void* base, uint64_t size, const uint8_t* secret, const uint8_t* boot)
    const char* fp_see_limits(fp_map* map, void* base, uint64_t size, const uint8_t* secret, const uint8_t* boot)
    uint64_t fp_adopt_buckets(fp_map* source, fp_map* map, int64_t now)
    uint64_t fp_adopt_budgets(fp_map* source, fp_map* map)
    uint64_t fp_adopt_leases(fp_map* source, fp_map* map, const uint64_t* owners, int64_t now)
    void* fp_at(fp_map* map, int region, uint32_t row)
    fp_atomic* fp_lane_at(fp_map* map, uint32_t worker, uint32_t lane)
    void fp_halves(const uint8_t* id, uint64_t* low, uint64_t* high)
    uint32_t fp_insert(fp_map* map, int region, uint64_t low, uint64_t high, fp_bool* made)
    uint32_t fp_series_row(fp_map* map, int region, uint32_t family, uint64_t low, uint64_t high)
    uint32_t fp_publish(fp_row* row, uint32_t kind, const uint8_t* text, uint32_t size)
    uint32_t fp_text(fp_row* row, uint8_t* text, uint64_t* meta)
    uint32_t fp_kind(uint64_t meta)
    uint64_t fp_copy_bins(fp_histogram* row, uint64_t* bins)
    double fp_bin_middle(uint32_t bin)
    uint64_t fp_owner(uint64_t pid, uint64_t start)
    uint32_t fp_owner_pid(uint64_t owner)
    uint64_t fp_owner_start(uint64_t owner)
    uint32_t fp_join(fp_map* map, uint64_t owner, uint64_t* me)
    void fp_leave(fp_map* map, uint64_t me)
    int64_t fp_lane_sum(fp_map* map, uint32_t lane)
    fp_taken fp_take(fp_bucket* bucket, fp_rate rate, int64_t now, int64_t cost, bint look)
    void fp_correct(fp_bucket* bucket, int64_t now, int64_t cost, fp_rate rate)
    uint32_t fp_phase(uint64_t word)
    uint32_t fp_use(uint64_t word)
    bint fp_release(fp_map* map, uint32_t row, uint32_t use, uint32_t phases)
    uint64_t fp_reap_leases(fp_map* map, int64_t now)
    void fp_enter(fp_map* map, uint64_t me, const fp_rate* rates, const int64_t* costs, int n_rates,
                  const fp_slot* slots, int n_slots, int64_t now, int64_t expires, fp_verdict* verdict)
    void fp_write_sample(fp_sample* sample, uint64_t stamp, const double* values)
    bint fp_read_sample(fp_sample* sample, uint64_t* stamp, double* values)

LAYOUT = FP_LAYOUT
LIMITS_LAYOUT = FP_LIMITS_LAYOUT
RANGE_US = FP_RANGE
OTHER = "other"

_TABLES = (
    "workers", "lanes", "families", "series", "lane_series", "histograms", "buckets", "limits", "leases", "cells",
    "samples", "budgets", "holds",
)
_CAUSES = ("", "rate", "slots", "full", "superseded")
_MIRRORS = FP_LANES, FP_HOLDS  # as many rows as another table: nothing to tell
_NO_BOOT = bytes(16)


class ArenaError(Exception):
    pass


class Sizes(NamedTuple):
    workers: int = 64
    families: int = 64
    series: int = 4096
    lanes: int = 512
    histograms: int = 512
    buckets: int = 65536
    limits: int = 16384
    leases: int = 32768
    budgets: int = 8192
    cells: int = 4096
    samples: int = 1024
    family_limit: int = 1000


class Series(NamedTuple):
    family: str
    labels: tuple
    kind: str
    value: object


class Refusal(NamedTuple):
    cause: str
    place: int
    retry_after: int


def digest(*words):
    parts = [word.encode("utf-8", "replace") for word in words]
    return blake2b(b"".join(b"%d:%b" % (len(part), part) for part in parts), digest_size=16).digest()


def process_start(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in b"ZXx" else int(fields[19])


def _is_alive(pid, start):
    """Whether this very process lives: its number may have gone to another."""
    return process_start(pid) == start


def pack_breaker(state, count, until_ms):
    if not (0 <= state < 4 and 0 <= count < 1 << 14 and 0 <= until_ms < 1 << 48):
        raise ValueError(f"a breaker cannot hold {state}, {count}, {until_ms}")
    return until_ms << 16 | count << 2 | state


def unpack_breaker(word):
    return word & 3, word >> 2 & 0x3FFF, word >> 16


cdef uint64_t plan_of(object sizes, fp_region* regions) except 0:
    """Lays the regions out; gives the size of the whole."""
    cdef int i
    cdef uint64_t size
    cdef tuple rows = (
        sizes.workers, sizes.workers, sizes.families, sizes.series, sizes.lanes, sizes.histograms, sizes.buckets,
        sizes.limits, sizes.leases, sizes.cells, sizes.samples, sizes.budgets, sizes.leases,
    )
    if sizes.family_limit < 1 or min(rows) < 1:
        raise ValueError(f"no arena has such sizes: {sizes}")
    for i in range(FP_REGIONS):
        regions[i].rows = rows[i]
    size = fp_plan(regions)
    if size == 0:
        raise ValueError(f"no arena has such sizes (powers of two, 255 workers at most): {sizes}")
    return size


def layout_size(sizes):
    cdef fp_region regions[13]
    return plan_of(sizes, regions)


cdef const uint8_t* sixteen(bytes word, str name) except NULL:
    if word is None or len(word) != 16:
        raise ValueError(f"{name} takes 16 bytes")
    return word


cdef void* address_of(object memory, uint64_t* size) except NULL:
    """Where writable memory lies. The caller keeps it from being moved by holding a memoryview."""
    cdef Py_buffer buffer
    cdef void* base
    try:
        PyObject_GetBuffer(memory, &buffer, PyBUF_WRITABLE)
    except BufferError:
        raise ValueError("an arena needs memory that can be written") from None
    base = buffer.buf
    size[0] = buffer.len
    PyBuffer_Release(&buffer)
    if base == NULL or <uintptr_t> base % 64 != 0:
        raise ValueError("an arena needs memory aligned to 64 bytes")
    return base


cdef void* hold(Arena arena, object memory, uint64_t* size) except NULL:
    arena.owner = memory
    arena.view = memoryview(memory)
    return address_of(memory, size)


cdef object found_sizes(Arena arena):
    cdef uint32_t* rows = (<fp_view*> arena.map).rows
    return Sizes(
        workers=rows[FP_WORKERS], families=rows[FP_FAMILIES], series=rows[FP_SERIES], lanes=rows[FP_LANE_ROWS],
        histograms=rows[FP_HISTOGRAMS], buckets=rows[FP_BUCKETS], limits=rows[FP_LIMITS], leases=rows[FP_LEASES],
        budgets=rows[FP_BUDGETS], cells=rows[FP_CELLS], samples=rows[FP_SAMPLES],
        family_limit=(<fp_view*> arena.map).family_limit,
    )


cdef uint32_t used_of(Arena arena, int region) noexcept:
    cdef uint32_t used = 0
    cdef uint32_t row
    cdef uint64_t word
    for row in range((<fp_view*> arena.map).rows[region]):
        word = fp_load(<fp_atomic*> fp_at(arena.map, region, row))  # a row's first word says whether it is taken
        used += fp_phase(word) != FP_FREE if region == FP_LEASES else word != 0
    return used


cdef int free_slots(Arena arena, object alive) except -1:
    cdef uint64_t owner
    cdef uint32_t slot
    cdef int freed = 0
    cdef fp_worker* worker
    for slot in range((<fp_view*> arena.map).rows[FP_WORKERS]):
        worker = <fp_worker*> fp_at(arena.map, FP_WORKERS, slot)
        owner = fp_load(&worker.owner)
        if owner != 0 and not alive(fp_owner_pid(owner), fp_owner_start(owner)):
            freed += fp_swap(&worker.owner, owner, 0)
    return freed


cdef uint32_t claim(Arena arena, int region, uint32_t kind, uint32_t family, tuple words) except? 0xFFFFFFFE:
    """The row of one series, FP_NO_ROW when it may have none."""
    cdef uint64_t low, high
    cdef uint32_t row
    cdef bytes text = "\0".join(words).encode("utf-8", "replace")
    if len(text) > FP_TEXT:
        fp_add(&(<fp_view*> arena.map).header.refused[region], 1)
        return FP_NO_ROW
    fp_halves(digest(*words), &low, &high)
    row = fp_series_row(arena.map, region, family, low, high)
    if row == FP_NO_ROW:
        return FP_NO_ROW
    if fp_publish(<fp_row*> fp_at(arena.map, region, row), kind, text, len(text)) != kind:
        raise ValueError(f"{words[0]} exists as another kind of series")
    return row


cdef uint32_t meet(Arena arena, int region, uint32_t kind, tuple words) except? 0xFFFFFFFE:
    """The row that counts a family's series. Its `other` gets a row first, so that it has one when others do not.
    """
    cdef uint64_t low, high
    cdef fp_bool made
    key = region, words[0]
    found = arena.families.get(key)
    if found is None:
        fp_halves(digest(words[0], _TABLES[region]), &low, &high)
        found = arena.families[key] = fp_insert(arena.map, FP_FAMILIES, low, high, &made)
        if len(words) > 1:
            claim(arena, region, kind, FP_NO_ROW, others(words))
    return found


cdef uint32_t place(Arena arena, int region, uint32_t kind, str family, object labels) except? 0xFFFFFFFE:
    """The row of a series, of its family's `other`, or at worst the table's spare one, which nobody reads."""
    cdef tuple words = tuple([word.replace("\0", "\ufffd") for word in (family, *labels)])
    cdef uint32_t row
    if not family:
        raise ValueError("a family needs a name")
    row = claim(arena, region, kind, meet(arena, region, kind, words), words)
    if row == FP_NO_ROW:
        row = claim(arena, region, kind, FP_NO_ROW, others(words))
    return row if row != FP_NO_ROW else (<fp_view*> arena.map).rows[region]


cdef fp_atomic* value_of(Arena arena, int region, uint32_t row) noexcept:
    return &(<fp_series*> fp_at(arena.map, region, row)).value


cdef object read(Arena arena, int region, uint32_t row):
    """One series; None for a row that is free, unfinished or damaged, and for an `other` that counted nothing."""
    cdef uint8_t text[192]
    cdef uint64_t meta
    cdef uint32_t size = fp_text(<fp_row*> fp_at(arena.map, region, row), text, &meta)
    if size == 0:
        return None
    try:
        family, *labels = (<bytes> text[:size]).decode().split("\0")
    except UnicodeDecodeError:
        return None
    value = read_value(arena, region, row, fp_kind(meta))
    if value is None or (labels and labels.count(OTHER) == len(labels) and not value):
        return None
    return Series(family, tuple(labels), _KINDS[fp_kind(meta)], value)


cdef object read_value(Arena arena, int region, uint32_t row, uint32_t kind):
    if region == FP_HISTOGRAMS and kind == FP_HISTOGRAM:
        return snapshot_of(<fp_histogram*> fp_at(arena.map, region, row))
    if region == FP_LANE_ROWS and kind == FP_LANE:
        return fp_lane_sum(arena.map, row)
    if region == FP_SERIES and kind == FP_COUNTER:
        return fp_load(value_of(arena, region, row))
    if region == FP_SERIES and kind == FP_GAUGE:
        return fp_get_double(value_of(arena, region, row))
    return None


cdef uint32_t row_of(Arena arena, int region, bytes id) except? 0xFFFFFFFE:
    cdef uint64_t low, high
    cdef fp_bool made
    fp_halves(sixteen(id, "id"), &low, &high)
    return fp_insert(arena.map, region, low, high, &made)


_KINDS = {FP_COUNTER: "counter", FP_GAUGE: "gauge", FP_LANE: "gauge", FP_HISTOGRAM: "histogram"}


cdef tuple others(tuple words):
    return (words[0], *((OTHER,) * (len(words) - 1)))


@cython.final
cdef class Arena:

    def __cinit__(self):
        self.slot = -1
        self.families = {}
        self.map = <fp_map*> calloc(1, sizeof(fp_view))
        if self.map == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.map)

    @staticmethod
    def anonymous(bytes secret not None, sizes=Sizes()):
        return Arena.format(mmap.mmap(-1, layout_size(sizes)), secret, sizes, _NO_BOOT)

    @staticmethod
    def format(memory, bytes secret not None, sizes, bytes boot not None):
        cdef fp_region regions[13]
        cdef uint64_t room
        cdef uint64_t size = plan_of(sizes, regions)
        cdef Arena arena = Arena.__new__(Arena)
        cdef void* base = hold(arena, memory, &room)
        if room < size:
            raise ValueError(f"{room} bytes are too few for an arena of {size}")
        fp_format(arena.map, base, regions, size, sizes.family_limit, sixteen(secret, "secret"), sixteen(boot, "boot"))
        arena.layout = sizes
        return arena

    @staticmethod
    def attach(memory, bytes secret not None, bytes boot not None):
        cdef uint64_t size
        cdef Arena arena = Arena.__new__(Arena)
        cdef void* base = hold(arena, memory, &size)
        cdef const char* reason
        reason = fp_attach(arena.map, base, size, sixteen(secret, "secret"), sixteen(boot, "boot"))
        if reason != NULL:
            raise ArenaError((<bytes> reason).decode())
        arena.layout = found_sizes(arena)
        return arena

    def adopt_limits(self, memory, bytes secret not None, bytes boot not None, int64_t now, alive=None):
        cdef fp_view source
        cdef fp_map* old = <fp_map*> &source
        cdef uint64_t owners[256]
        cdef uint64_t size, owner
        cdef uint32_t slot
        cdef object view = memoryview(memory)
        cdef void* base = address_of(memory, &size)
        cdef const char* reason
        reason = fp_see_limits(old, base, size, sixteen(secret, "secret"), sixteen(boot, "boot"))
        if reason != NULL:
            raise ArenaError((<bytes> reason).decode())
        memset(owners, 0, sizeof(owners))
        fp_swap(&source.header.superseded, 0, 1)
        alive = alive or _is_alive
        for slot in range(source.rows[FP_WORKERS]):
            owner = fp_load(&(<fp_worker*> fp_at(old, FP_WORKERS, slot)).owner)
            if owner & 3 and alive(fp_owner_pid(owner), fp_owner_start(owner)):
                fp_join(self.map, owner & ~<uint64_t> 3, &owners[slot])
        buckets = fp_adopt_buckets(old, self.map, now)
        leases = fp_adopt_leases(old, self.map, owners, now)
        fp_adopt_budgets(old, self.map)
        view.release()
        return buckets, leases

    @property
    def sizes(self):
        return self.layout

    @property
    def memory(self):
        return self.owner

    @property
    def superseded(self):
        return fp_is_superseded(self.map)

    @property
    def refusals(self):
        cdef fp_header* header = (<fp_view*> self.map).header
        return {name: fp_load(&header.refused[i]) for i, name in enumerate(_TABLES) if i not in _MIRRORS}

    @property
    def rows_used(self):
        return {name: used_of(self, i) for i, name in enumerate(_TABLES) if i not in _MIRRORS}

    # -- workers

    def join(self, pid=None, start=None):
        cdef uint64_t owner
        cdef uint32_t slot
        if self.slot >= 0:
            raise RuntimeError("this process joined already")
        pid = os.getpid() if pid is None else pid
        owner = fp_owner(pid, process_start(pid) if start is None else start)
        slot = fp_join(self.map, owner, &self.me)
        if slot == FP_NO_ROW:
            free_slots(self, _is_alive)
            slot = fp_join(self.map, owner, &self.me)
        if slot == FP_NO_ROW:
            raise ArenaError(f"all {self.layout.workers} worker slots are taken")
        self.slot = slot
        return self.slot

    def leave(self):
        if self.slot >= 0:
            fp_leave(self.map, self.me)
        self.slot = -1

    def workers(self):
        cdef uint64_t owner
        cdef uint32_t slot
        cdef list found = []
        for slot in range((<fp_view*> self.map).rows[FP_WORKERS]):
            owner = fp_load(&(<fp_worker*> fp_at(self.map, FP_WORKERS, slot)).owner)
            if owner != 0:
                found.append((slot, fp_owner_pid(owner), fp_owner_start(owner)))
        return found

    def reap(self, int64_t now, alive=None):
        cdef uint64_t leases
        workers = free_slots(self, alive or _is_alive)
        with nogil:
            leases = fp_reap_leases(self.map, now)
        return workers, leases

    # -- series

    def counter(self, str family not None, labels=()):
        cdef Counter handle = Counter.__new__(Counter)
        handle.arena = self
        handle.cell = value_of(self, FP_SERIES, place(self, FP_SERIES, FP_COUNTER, family, labels))
        return handle

    def gauge(self, str family not None, labels=()):
        cdef Gauge handle = Gauge.__new__(Gauge)
        handle.arena = self
        handle.cell = value_of(self, FP_SERIES, place(self, FP_SERIES, FP_GAUGE, family, labels))
        return handle

    def lane(self, str family not None, labels=()):
        cdef Lane handle = Lane.__new__(Lane)
        if self.slot < 0:
            raise RuntimeError("join the arena first")
        handle.arena = self
        handle.cell = fp_lane_at(self.map, self.slot, place(self, FP_LANE_ROWS, FP_LANE, family, labels))
        return handle

    def histogram(self, str family not None, labels=()):
        cdef Histogram handle = Histogram.__new__(Histogram)
        handle.arena = self
        handle.row = <fp_histogram*> fp_at(
            self.map, FP_HISTOGRAMS, place(self, FP_HISTOGRAMS, FP_HISTOGRAM, family, labels)
        )
        return handle

    def series(self):
        cdef uint32_t row
        for region in (FP_SERIES, FP_LANE_ROWS, FP_HISTOGRAMS):
            for row in range((<fp_view*> self.map).rows[region]):
                found = read(self, region, row)
                if found is not None:
                    yield found

    # -- limits and load

    def bucket(self, bytes id not None):
        cdef Bucket handle = Bucket.__new__(Bucket)
        handle.arena = self
        handle.row = row_of(self, FP_BUCKETS, id)
        return handle

    def limit(self, bytes id not None):
        cdef Limit handle = Limit.__new__(Limit)
        handle.arena = self
        handle.row = row_of(self, FP_LIMITS, id)
        return handle

    def ewma(self, bytes id not None):
        cdef Ewma handle = Ewma.__new__(Ewma)
        cdef uint32_t row = row_of(self, FP_CELLS, id)
        handle.arena = self
        handle.cell = <fp_atomic*> &handle.own[0]
        handle.at = <fp_atomic*> &handle.own[1]
        if row != FP_NO_ROW:
            handle.cell = &(<fp_cell*> fp_at(self.map, FP_CELLS, row)).value
            handle.at = &(<fp_cell*> fp_at(self.map, FP_CELLS, row)).stamp
        return handle

    def word(self, bytes id not None):
        cdef Word handle = Word.__new__(Word)
        cdef uint32_t row = row_of(self, FP_CELLS, id)
        handle.arena = self
        handle.cell = <fp_atomic*> &handle.own
        if row != FP_NO_ROW:
            handle.cell = &(<fp_cell*> fp_at(self.map, FP_CELLS, row)).value
        return handle

    def pair(self, bytes id not None):
        cdef Pair handle = Pair.__new__(Pair)
        cdef uint32_t row = row_of(self, FP_CELLS, id)
        handle.arena = self
        handle.cell = <fp_cell*> fp_at(self.map, FP_CELLS, row) if row != FP_NO_ROW else make_own_cell(handle)
        return handle

    def sample(self, bytes id not None):
        cdef Sample handle = Sample.__new__(Sample)
        cdef uint32_t row = row_of(self, FP_SAMPLES, id)
        handle.arena = self
        handle.row = <fp_sample*> fp_at(self.map, FP_SAMPLES, row) if row != FP_NO_ROW else make_own(handle)
        return handle


@cython.final
cdef class Counter:

    cpdef add(self, uint64_t n=1):
        self.tick(n)

    @property
    def value(self):
        return fp_load(self.cell)


@cython.final
cdef class Gauge:

    def set(self, double value):
        self.put(value)

    def add(self, double delta):
        self.shift(delta)

    @property
    def value(self):
        return fp_get_double(self.cell)


@cython.final
cdef class Lane:

    def add(self, int64_t delta):
        self.shift(delta)

    @property
    def value(self):
        return <int64_t> fp_load(self.cell)


@cython.final
cdef class Histogram:

    cpdef record(self, uint64_t value_us):
        self.put(value_us)

    def snapshot(self):
        return snapshot_of(self.row)


cdef HistogramSnapshot snapshot_of(fp_histogram* row):
    cdef HistogramSnapshot copy = HistogramSnapshot.__new__(HistogramSnapshot)
    copy.bins = <uint64_t*> malloc(FP_BINS * sizeof(uint64_t))
    if copy.bins == NULL:
        raise MemoryError
    copy.count = fp_copy_bins(row, copy.bins)
    copy.sum_us = fp_load(&(<fp_bins*> row).head.value)
    return copy


@cython.final
cdef class HistogramSnapshot:

    def __dealloc__(self):
        free(self.bins)

    def __bool__(self):
        return self.count > 0

    def quantile(self, double q):
        cdef uint64_t seen = 0
        cdef uint64_t rank
        cdef uint32_t i
        if not 0 <= q <= 1:
            raise ValueError(f"no quantile {q}")
        rank = max(1, math.ceil(q * self.count))
        for i in range(<uint32_t> FP_BINS):
            seen += self.bins[i]
            if seen >= rank:
                return fp_bin_middle(i)
        return 0.0

    def cumulative(self, bounds_us):
        cdef uint64_t seen = 0
        cdef uint32_t i = 0
        cdef double bound
        cdef list counts = []
        for bound in bounds_us:
            while i < FP_BINS and fp_bin_middle(i) <= bound:
                seen += self.bins[i]
                i += 1
            counts.append(seen)
        return counts


cdef int check_rate(int64_t period, int64_t burst) except -1:
    if period < 1 or burst < 1:
        raise ValueError(f"no rate has a period of {period} ns and a burst of {burst}")
    return 0


@cython.final
cdef class Bucket:

    def take(self, int64_t now, int64_t cost, int64_t period, int64_t burst):
        cdef fp_rate rate
        cdef fp_taken taken
        cdef fp_bucket* bucket
        check_rate(period, burst)
        if cost < 0:
            raise ValueError(f"no request costs {cost}")
        if self.row == FP_NO_ROW or fp_is_superseded(self.arena.map):
            return False, 0, 0
        bucket = <fp_bucket*> fp_at(self.arena.map, FP_BUCKETS, self.row)
        rate.period, rate.burst, rate.per, rate.depth, rate.meter = period, burst, 1, 0, NULL
        taken = fp_take(bucket, rate, now, cost, False)
        if taken.admitted and fp_is_superseded(self.arena.map):
            fp_correct(bucket, now, -cost, rate)
            return False, 0, 0
        return taken.admitted, taken.retry_after, taken.left

    def correct(self, int64_t now, int64_t cost, int64_t period):
        cdef fp_rate rate
        check_rate(period, 1)
        rate.period, rate.per, rate.depth, rate.meter = period, 1, 0, NULL
        if self.row != FP_NO_ROW:
            fp_correct(<fp_bucket*> fp_at(self.arena.map, FP_BUCKETS, self.row), now, cost, rate)

    @property
    def full(self):
        return self.row == FP_NO_ROW


@cython.final
cdef class Limit:

    @property
    def in_use(self):
        if self.row == FP_NO_ROW:
            return 0
        return fp_load(&(<fp_limit*> fp_at(self.arena.map, FP_LIMITS, self.row)).use) & FP_COUNT

    @property
    def full(self):
        return self.row == FP_NO_ROW


cdef list in_row_order(list rows):
    """Places of the caller's order, sorted by row. Raises ValueError for one row twice."""
    known = [row for row in rows if row != FP_NO_ROW]
    if len(set(known)) < len(known) or len(rows) > FP_MOST:
        raise ValueError(f"a gate takes at most {FP_MOST} rates and as many slots, each of them once")
    return sorted(range(len(rows)), key=rows.__getitem__)


@cython.final
cdef class Gate:

    def __init__(self, Arena arena not None, rates=(), slots=()):
        cdef int i
        self.arena = arena
        self.n_rates, self.n_slots = len(rates), len(slots)
        for i, place in enumerate(in_row_order([(<Bucket?> bucket).row for bucket, _, _ in rates])):
            bucket, self.rates[i].period, self.rates[i].burst = rates[place]
            check_rate(self.rates[i].period, self.rates[i].burst)
            self.rates[i].row = (<Bucket> bucket).row
            self.rate_order[i] = place
        for i, place in enumerate(in_row_order([(<Limit?> limit).row for limit, _ in slots])):
            limit, self.slots[i].most = slots[place]
            self.slots[i].row = (<Limit> limit).row
            self.slot_order[i] = place

    cdef void enter(self, int64_t now, int64_t expires, const int64_t* costs, fp_verdict* verdict) noexcept nogil:
        cdef int64_t sorted_costs[8]
        cdef int i
        for i in range(self.n_rates):
            sorted_costs[i] = costs[self.rate_order[i]]
        fp_enter(self.arena.map, self.arena.me, self.rates, sorted_costs, self.n_rates, self.slots, self.n_slots, now,
                 expires, verdict)
        if verdict.outcome == FP_RATE:
            verdict.index = self.rate_order[verdict.index]
        elif verdict.outcome == FP_SLOTS:
            verdict.index = self.slot_order[verdict.index]

    cdef bint leave(self, uint32_t lease, uint32_t use) noexcept nogil:
        return lease != FP_NO_ROW and fp_release(self.arena.map, lease, use, 1 << FP_HELD)

    def admit(self, int64_t now, int64_t expires, costs=()):
        cdef int64_t all_costs[8]
        cdef fp_verdict verdict
        cdef Lease lease
        cdef int i
        if self.n_slots and self.arena.slot < 0:
            raise RuntimeError("join the arena first")
        if len(costs) > self.n_rates:
            raise ValueError(f"{len(costs)} costs for {self.n_rates} rates")
        for i in range(self.n_rates):
            all_costs[i] = costs[i] if i < len(costs) else 1
            if all_costs[i] < 0:
                raise ValueError(f"no request costs {all_costs[i]}")
        self.enter(now, expires, all_costs, &verdict)
        if verdict.outcome != FP_ADMITTED:
            return Refusal(_CAUSES[verdict.outcome], verdict.index, verdict.retry_after)
        lease = Lease.__new__(Lease)
        lease.arena, lease.row, lease.use = self.arena, verdict.lease, verdict.use
        return lease


cdef fp_lease* held_row(Lease self) noexcept:
    """The lease's row while this use of it is held, else NULL."""
    cdef fp_lease* lease
    cdef uint64_t word
    if self.row == FP_NO_ROW:
        return NULL
    lease = <fp_lease*> fp_at(self.arena.map, FP_LEASES, self.row)
    word = fp_load(&lease.word)
    return lease if fp_use(word) == self.use and fp_phase(word) == FP_HELD else NULL


# Not a part of any cycle, so that `__dealloc__` still finds the arena.
@cython.no_gc
@cython.final
cdef class Lease:

    def __dealloc__(self):
        if self.arena is not None:
            self.release()

    def release(self):
        return self.row != FP_NO_ROW and fp_release(self.arena.map, self.row, self.use, 1 << FP_HELD)

    def renew(self, int64_t expires):
        cdef fp_lease* lease = held_row(self)
        if lease != NULL:
            fp_store(&lease.expires, expires)
        return held_row(self) != NULL

    @property
    def held(self):
        return held_row(self) != NULL


@cython.final
cdef class Ewma:

    def update(self, int64_t now, double sample, int64_t tau):
        return self.observe(now, sample, tau)

    @property
    def value(self):
        return fp_get_double(self.cell)

    @property
    def stamp(self):
        return fp_load(self.at)


@cython.final
cdef class Word:

    @property
    def value(self):
        return self.get()

    def set(self, uint64_t value):
        self.put(value)

    def compare_and_set(self, uint64_t expected, uint64_t value):
        return self.swap(expected, value)


cdef fp_cell* make_own_cell(Pair handle) except NULL:
    if posix_memalign(<void**> &handle.own, 64, sizeof(fp_cell)) != 0:
        raise MemoryError
    memset(handle.own, 0, sizeof(fp_cell))
    return handle.own


@cython.final
cdef class Pair:

    def __dealloc__(self):
        free(self.own)

    def read(self):
        cdef uint64_t stamp = fp_load(&self.cell.stamp)
        cdef uint64_t value = fp_load(&self.cell.value)
        if fp_load(&self.cell.stamp) != stamp:
            return stamp, 0
        return stamp, value

    def set(self, uint64_t stamp, uint64_t value):
        if fp_load(&self.cell.stamp) != stamp:
            fp_put(&self.cell.value, 0)
            fp_put(&self.cell.stamp, stamp)
        fp_put(&self.cell.value, value)

    @property
    def full(self):
        return self.own != NULL


cdef fp_sample* make_own(Sample handle) except NULL:
    if posix_memalign(<void**> &handle.own, 64, sizeof(fp_copies)) != 0:
        raise MemoryError
    memset(handle.own, 0, sizeof(fp_copies))
    return handle.own


@cython.final
cdef class Sample:

    def __dealloc__(self):
        free(self.own)

    def write(self, uint64_t stamp, values):
        cdef double all_values[5]
        cdef int i
        if len(values) > FP_VALUES:
            raise ValueError(f"a sample holds {FP_VALUES} values, not {len(values)}")
        for i in range(FP_VALUES):
            all_values[i] = values[i] if i < len(values) else 0.0
        fp_write_sample(self.row, stamp, all_values)

    def read(self):
        cdef double values[5]
        cdef uint64_t stamp
        if not fp_read_sample(self.row, &stamp, values):
            return None
        return stamp, (values[0], values[1], values[2], values[3], values[4])


# What only an arena or a gate makes: one made by its name would point nowhere.
for _made in (Arena, Counter, Gauge, Lane, Histogram, HistogramSnapshot, Bucket, Limit, Lease, Ewma, Word,
              Pair, Sample):
    (<PyTypeObject*> _made).tp_new = NULL
    (<PyTypeObject*> _made).tp_vectorcall = NULL
    (<dict> (<PyTypeObject*> _made).tp_dict).pop("__new__", None)
    PyType_Modified(_made)
del _made
