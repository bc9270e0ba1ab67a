cimport cython

from _native.clock cimport Clock

cdef long long WINDOW


cdef class RetryBudget:
    cdef double _ratio
    cdef long long _minimum
    cdef Clock _clock
    cdef list _requests
    cdef list _retries
    cdef long long _second

    cpdef request(self)
    cpdef bint spend(self)

    @cython.locals(now=cython.longlong, second=cython.longlong)
    cdef _advance(self)
