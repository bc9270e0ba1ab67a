cdef class Ask:
    cdef readonly long long tokens
    cdef readonly double now
    cdef readonly unsigned long long key
    cdef readonly object draw
