cimport cython

from _native.clock cimport Clock
from fastpath.context cimport RequestContext


cdef class Marks:
    cdef list _set
    cdef list _running
    cdef int _next
    cdef int _last
    cdef Clock _clock
    cdef object _strikes
    cdef object _table
    cdef object _version
    cdef object _found
    cdef frozenset _struck

    cpdef look(self)
    cpdef begin(self, RequestContext ctx, bytes body)
    cpdef end(self, RequestContext ctx)
    cdef _clear(self, object mark)


@cython.locals(mark=cython.ulonglong, size=cython.Py_ssize_t, step=cython.Py_ssize_t, at=cython.Py_ssize_t)
cpdef unsigned long long weak_mark(bytes body)
