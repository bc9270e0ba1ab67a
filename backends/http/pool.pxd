cimport cython

from _native.clock cimport Clock
from _native.relay cimport Connection, Source


cdef class Waiting(Source):
    cdef readonly bint over

    cpdef attach(self, Connection connection)
    cpdef unconnected(self, object error)


cdef class Pool:
    cdef double _idle_limit
    cdef int _max
    cdef readonly object _connector
    cdef Clock _clock
    cdef public list _idle
    cdef object _waiting
    cdef set _opening
    cdef public set _live
    cdef bint _closed

    @cython.locals(oldest=double, connection=Connection)
    cpdef acquire(self, Waiting call)
    cpdef open_for(self, Waiting call)
    cpdef release(self, Connection connection, bint reusable)
    cpdef lost(self, Connection connection)

    @cython.locals(call=Waiting)
    cdef _serve_next(self, Connection connection)
    cdef _open_next(self)
