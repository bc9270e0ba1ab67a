"""One tier of a price, ready to be multiplied: what a usage is on a bill, and the most that so many tokens can be.

Prices are whole pico-units per token, bills whole nano-units; a product is taken in 128 bits and rounded once, half to
even, as `scheduler.money` does it. Nothing changes after it is made.
"""

from libc.stdint cimport int64_t


cdef class Rates:
    cdef int64_t input
    cdef int64_t cached
    cdef int64_t output
    cdef int64_t reasoning
    cdef int64_t request
    cdef readonly int64_t dearest_prompt
    cdef readonly int64_t dearest_answer
    cdef int64_t markup
    cdef int64_t long_from      # tokens of a prompt from which on another tier bills; 0: none

    cpdef int64_t bill(self, int64_t prompt, int64_t cached, int64_t answer, int64_t reasoning) noexcept
    cpdef int64_t most(self, int64_t prompt, int64_t answer) noexcept


cpdef bytes nano_text(int64_t nano)
cpdef bytes decimal_text(int64_t number)
