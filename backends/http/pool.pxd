from _native.relay cimport Connection


cdef class Pool:
    cdef double _idle_limit
    cdef int _max
    cdef readonly object _connector
    cdef object _clock
    cdef public list _idle
    cdef object _waiting
    cdef set _opening
    cdef public set _live
    cdef bint _closed

    cpdef acquire(self, object call)
    cpdef open_for(self, object call)
    cpdef release(self, Connection connection, bint reusable)
    cpdef lost(self, Connection connection)
    cdef _serve_next(self, Connection connection)
    cdef _open_next(self)
