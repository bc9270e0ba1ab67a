cimport cython

from fastpath.limits.admission cimport admit
from fastpath.limits.meters cimport Meters
from fastpath.limits.plan cimport Plan


cdef class Standing:
    cdef readonly Plan plan
    cdef readonly Meters meters
    cdef readonly bint free
    cdef readonly bint capped
    cdef readonly bint money
    cdef readonly bint budgeted
    cdef readonly bint tokens
    cdef bint _degrades

    cpdef str substitute(self, double wall)
    cpdef list headers(self, str dialect, double now, double wall)


cdef class Desk:
    cdef object _book
    cdef object _alert
    cdef object _seal
    cdef dict _standings
    cdef Py_ssize_t _kept
    cdef dict _meters

    @cython.locals(found=Standing, known=dict)
    cpdef Standing standing(self, object caller, str model)
    cdef Standing _make(self, object caller, str model)
    cpdef admit(self, Standing standing, double now, double wall, long long input, long long output, long long money)


cpdef object caller_of(object key)
