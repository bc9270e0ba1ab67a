"""The arena's handles and what they do without the interpreter lock. The layout and every CAS loop are in arena.h."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "arena.h" nogil:
    ctypedef struct fp_map:
        pass

    ctypedef struct fp_atomic:
        pass

    ctypedef struct fp_row:
        pass

    ctypedef struct fp_lane:
        pass

    ctypedef struct fp_histogram:
        pass

    ctypedef struct fp_sample:
        pass

    ctypedef struct fp_cell:
        fp_atomic value
        fp_atomic stamp

    ctypedef struct fp_rate:
        uint32_t row
        int64_t period
        int64_t burst
        int64_t per          # a unit costs period / per ns; 0 is 1
        int64_t depth        # ns; 0 is that of the burst
        fp_cell* meter       # NULL: nobody counts

    ctypedef struct fp_slot:
        uint32_t row
        uint32_t most

    ctypedef struct fp_verdict:
        int outcome          # FP_ADMITTED, or why not
        int index            # of the rate or slot that refused, -1 for other outcomes
        int64_t retry_after  # ns; 0 unknown, -1 never
        uint32_t lease       # row; FP_NO_ROW when no slot was asked for
        uint32_t use         # which use of that row

    enum:
        FP_ADMITTED
        FP_RATE
        FP_SLOTS
        FP_FULL
        FP_SUPERSEDED
        FP_NO_ROW
        FP_MOST              # rates, and slots, of one gate
        FP_BINS
        FP_VALUES            # of one sample

    void fp_add(fp_atomic* word, uint64_t n)
    void fp_set_double(fp_atomic* word, double value)
    void fp_add_double(fp_atomic* word, double delta)
    void fp_record(fp_histogram* row, uint64_t value_us)
    uint64_t fp_get(fp_atomic* word)
    void fp_put(fp_atomic* word, uint64_t value)
    bint fp_swap(fp_atomic* word, uint64_t expected, uint64_t value)
    double fp_ewma(fp_atomic* value, fp_atomic* stamp, int64_t now, double sample, int64_t tau)


@cython.final
cdef class Arena:
    cdef fp_map* map
    cdef object owner        # what the memory belongs to
    cdef object view         # keeps it from being unmapped
    cdef object layout       # Sizes
    cdef dict families       # (table, family) -> row that counts its series
    cdef readonly int slot
    cdef uint64_t me         # this process's slot and its generation, as lease words carry them


@cython.final
cdef class Counter:
    cdef Arena arena
    cdef fp_atomic* cell

    cpdef add(self, uint64_t n=*)

    cdef inline void tick(self, uint64_t n) noexcept nogil:
        fp_add(self.cell, n)


@cython.final
cdef class Gauge:
    cdef Arena arena
    cdef fp_atomic* cell

    cdef inline void put(self, double value) noexcept nogil:
        fp_set_double(self.cell, value)

    cdef inline void shift(self, double delta) noexcept nogil:
        fp_add_double(self.cell, delta)


@cython.final
cdef class Lane:
    cdef Arena arena
    cdef fp_atomic* cell

    cdef inline void shift(self, int64_t delta) noexcept nogil:
        fp_add(self.cell, <uint64_t> delta)


@cython.final
cdef class Histogram:
    cdef Arena arena
    cdef fp_histogram* row

    cpdef record(self, uint64_t value_us)

    cdef inline void put(self, uint64_t value_us) noexcept nogil:
        fp_record(self.row, value_us)


@cython.final
cdef class HistogramSnapshot:
    cdef uint64_t* bins
    cdef readonly uint64_t count
    cdef readonly uint64_t sum_us


@cython.final
cdef class Bucket:
    cdef Arena arena
    cdef uint32_t row


@cython.final
cdef class Limit:
    cdef Arena arena
    cdef uint32_t row


@cython.final
cdef class Gate:
    cdef Arena arena
    cdef int n_rates
    cdef int n_slots
    cdef fp_rate rates[8]    # in the order of their rows
    cdef fp_slot slots[8]
    cdef int rate_order[8]   # place in `rates` -> place the caller gave
    cdef int slot_order[8]

    # costs: one per rate, in the caller's order
    cdef void enter(self, int64_t now, int64_t expires, const int64_t* costs, fp_verdict* verdict) noexcept nogil
    cdef bint leave(self, uint32_t lease, uint32_t use) noexcept nogil


@cython.final
cdef class Lease:
    cdef Arena arena
    cdef uint32_t row
    cdef uint32_t use


@cython.final
cdef class Ewma:
    cdef Arena arena
    cdef fp_atomic* cell
    cdef fp_atomic* at
    cdef uint64_t own[2]     # where there was no room

    cdef inline double observe(self, int64_t now, double sample, int64_t tau) noexcept nogil:
        return fp_ewma(self.cell, self.at, now, sample, tau)


@cython.final
cdef class Pair:
    cdef Arena arena
    cdef fp_cell* cell
    cdef fp_cell* own        # where there was no room


@cython.final
cdef class Word:
    cdef Arena arena
    cdef fp_atomic* cell
    cdef uint64_t own

    cdef inline uint64_t get(self) noexcept nogil:
        return fp_get(self.cell)

    cdef inline void put(self, uint64_t value) noexcept nogil:
        fp_put(self.cell, value)

    cdef inline bint swap(self, uint64_t expected, uint64_t value) noexcept nogil:
        return fp_swap(self.cell, expected, value)


@cython.final
cdef class Sample:
    cdef Arena arena
    cdef fp_sample* row
    cdef fp_sample* own      # where there was no room
