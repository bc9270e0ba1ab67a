cimport cython

from _native.limiter cimport Ticket as Held
from fastpath.limits.plan cimport Plan

cdef double SECOND


cdef class Rejection:
    cdef readonly Plan plan
    cdef public object cause
    cdef readonly int place
    cdef readonly long long retry_after
    cdef readonly double wall
    cdef readonly bint elsewhere


cdef class Ticket:
    cdef Plan _plan
    cdef Held _held
    cdef object _alert

    cpdef prepare(self, Plan plan, Held held, object alert)
    cpdef bint settle(self, double now, long long input, long long output, long long money)
    cpdef bint void(self, double now)
    cpdef mark(self, long long tokens, long long money)


@cython.locals(moment=cython.longlong, ticket=Ticket)
cpdef admit(Plan plan, double now, double wall, long long input, long long output, long long money, object alert)
