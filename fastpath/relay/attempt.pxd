from _native.relay cimport Relay, Sink, StreamFilter
from backends.http.client cimport HttpCall
from fastpath.snapshot cimport Target


cdef class Attempt(Sink):
    cdef object _delivery
    cdef list _collected
    cdef long long _limit
    cdef Sink _out
    cdef readonly Target target
    cdef readonly bint usage_asked
    cdef readonly long long size
    cdef public double began
    cdef public HttpCall handle
    cdef readonly int status
    cdef readonly list headers
    cdef public StreamFilter stream
    cdef public Relay relay
    cdef public bint over

    cpdef Sink head(self, int status, list headers)
    cpdef void write(self, bytes data)
    cpdef void finish(self)
    cpdef void fail(self, object error)
    cpdef Sink open(self)
    cpdef ended(self, StreamFilter stream)
    cdef _finish(self)
    cdef Sink _accept(self, bytes content_type)
    cdef Sink _relay(self)
    cdef Sink _collect(self, long long limit)
    cdef Sink _reject(self, object error)
