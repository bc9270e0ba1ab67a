cimport cython

from _native.limiter cimport Limiter
from _native.rates cimport decimal_text


cdef class Meter:
    cdef readonly int family
    cdef readonly tuple limits
    cdef readonly bytes remaining
    cdef readonly bytes reset


cdef double SECOND
cdef double NEVER
cdef long long UNBOUNDED
cdef tuple _SHORT


cdef class Meters:
    cdef list _messages
    cdef list _openai
    cdef long long _day
    cdef bytes _date

    cpdef list headers(self, Limiter limiter, double now)
    cpdef list messages_headers(self, Limiter limiter, double now, double wall)

    @cython.locals(meter=Meter, place=int, left=cython.longlong, wait=cython.longlong, moment=cython.longlong)
    cdef list _told(self, list meters, Limiter limiter, double now, double wall)
    cdef bytes _rfc3339(self, double wall)


@cython.locals(milliseconds=cython.longlong)
cpdef bytes go_duration(long long nanoseconds)
