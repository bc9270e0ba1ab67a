cimport cython

from _native.rates cimport Rates


cdef class Held:
    cdef readonly long long prompt_most
    cdef readonly long long answer_most
    cdef readonly long long nano
    cdef readonly object price
    cdef readonly bint bounded
    cdef object _found
    cdef Rates _rates


cdef class Lane:
    cdef long long _context
    cdef long long _limit
    cdef long long _beside
    cdef long long _most_tokens
    cdef long long _most_answers
    cdef object _price
    cdef Rates _rates

    @cython.locals(held=Held, each=cython.longlong, answer=cython.longlong, prompt=cython.longlong,
                   nano=cython.longlong)
    cpdef Held hold(self, long long size, long long asked, long long answers)
