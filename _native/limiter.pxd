"""Everything that one caller's requests of one model must pass, and what an admitted one holds. See limiter.pyi for the
contract; the arithmetic and every CAS loop are in arena_limits.h and arena_budgets.h."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from _native.arena cimport Arena, fp_cell, fp_rate, fp_slot

cdef extern from "arena.h" nogil:
    ctypedef struct fp_allowance:
        uint32_t rows[6]
        uint32_t days
        uint32_t kind
        int64_t limit
        int64_t stop
        int64_t whole
        int64_t carry
        int64_t period
        int64_t previous
        int64_t ahead
        const fp_cell* caps[2]


@cython.final
cdef class Budget:
    cdef Arena arena
    cdef fp_allowance rows    # of its own only `rows` and `days`


# How many units of a rate a request costs: of itself, of each input token, of each output token.
cdef struct weights:
    int64_t request
    int64_t input
    int64_t output


@cython.final
cdef class Limiter:
    cdef Arena arena
    cdef list pairs           # what meters and caps point into
    cdef int n_rates
    cdef int n_slots
    cdef int n_budgets
    # All of it lies in one piece of memory of just that size: there is a limiter for each key, and a request of one
    # that was not heard of lately waits for memory, not for arithmetic.
    cdef fp_rate* rates       # these and slots in the order of their rows; the first in that piece
    cdef weights* units
    cdef int64_t* scales
    cdef int* families
    cdef int* rate_order      # place in `rates` -> place the caller gave
    cdef fp_slot* slots
    cdef int* slot_order
    cdef fp_allowance* budgets
    cdef int64_t* notices     # what settle() reports as reached

    cpdef object admit(self, int64_t now, int64_t expires, int64_t input, int64_t output, int64_t money)
    cpdef (int, int64_t, int64_t) nearest(self, int64_t now, int family) noexcept
    cpdef void fetch(self) noexcept
    cdef void charge(self, int64_t* costs, int64_t input, int64_t output) noexcept nogil


@cython.final
cdef class Ticket:
    cdef Limiter limiter
    cdef uint32_t row
    cdef uint32_t use
    cdef bint ended
    cdef int64_t input        # as it was charged
    cdef int64_t output
    cdef int64_t spent[2]     # as it was marked

    cpdef int64_t settle(self, int64_t now, int64_t input, int64_t output, int64_t money) except? -2
    cpdef bint void(self, int64_t now)
    cpdef bint mark(self, int64_t tokens, int64_t money) except? -1
    cdef bint end(self) noexcept nogil
