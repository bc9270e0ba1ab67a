cimport cython

from _native.clock cimport Clock
from _native.http1 cimport write_request
from _native.relay cimport Connection, Sink, StreamFilter
from backends.call cimport Call
from backends.http.pool cimport Pool, Waiting


cdef Py_ssize_t ONE_WRITE


cdef class HttpBackend


cdef class HttpCall(Waiting):
    cdef HttpBackend _backend
    cdef Call _call
    cdef readonly Connection _connection
    cdef StreamFilter _filter
    cdef Sink _sink
    cdef tuple _mark
    cdef double _started
    cdef double _sent_at
    cdef double _marked_at
    cdef double _linger_until
    cdef bint _refreshed

    cpdef prepare(self, HttpBackend backend, Call call, Sink sink, double now)

    @cython.locals(call=Call, body=bytes)
    cpdef attach(self, Connection connection)
    cpdef completed(self)
    cpdef watch(self, StreamFilter stream)
    cpdef forget_request(self)
    cpdef linger(self)
    cpdef void pause(self)
    cpdef void resume(self)
    cpdef void cancel(self)
    cpdef sweep(self, double now)
    cdef _overdue(self, double now)
    cdef bint _has_progress(self) except -1
    cdef _end(self)


cdef class HttpBackend:
    cdef object __weakref__
    cdef public object spec
    cdef public Clock clock
    cdef public Pool pool
    cdef public set calls
    cdef str _base
    cdef bytes _host
    cdef bytes _agent
    cdef dict _heads

    @cython.locals(handle=HttpCall)
    cpdef HttpCall start(self, Call call, Sink sink)

    @cython.locals(fixed=bytes)
    cdef bytes request_head(self, Call call, bytes body)
    cdef bytes _fixed_head(self, Call call)
