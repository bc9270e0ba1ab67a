from _native.arena cimport Sample
from _native.load cimport Load


cdef class Heard:
    cdef Load _load
    cdef Py_ssize_t _slot
    cdef Sample _sample

    cpdef first_token(self, double seconds, double now)
    cpdef whole(self, double seconds, double now)
    cpdef report(self, bytes value, double now)
