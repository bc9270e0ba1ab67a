cimport cython

from _native.answers cimport read_answer
from _native.relay cimport Relay, Sink, Source, StreamFilter
from backends.http.client cimport HttpCall
from fastpath.relay.fields cimport value_of
from fastpath.snapshot cimport Target


cdef bytes LOAD


cdef class AttemptOwner(Source):
    cdef readonly long long response_limit
    cdef readonly bint wants_json
    cdef readonly bint streaming

    cpdef fault(self, object error)
    cpdef reported(self, Attempt attempt, bytes load)
    cpdef attempt_failed(self, Attempt attempt, object error)
    cpdef answered(self, Attempt attempt, bytes body, Py_ssize_t start, Py_ssize_t end)
    cpdef refused(self, Attempt attempt, bytes body)
    cpdef bint hold(self, long long size)
    cpdef StreamFilter stream_filter(self, Attempt attempt)
    cpdef Sink open_stream(self)
    cpdef Sink open_body(self, Attempt attempt)
    cpdef passed(self, Attempt attempt)
    cpdef stream_ended(self, Attempt attempt, StreamFilter stream)


cdef class Attempt(Sink):
    cdef AttemptOwner _delivery
    cdef list _collected
    cdef long long _limit
    cdef Sink _out
    cdef readonly Target target
    cdef readonly bint usage_asked
    cdef readonly long long size
    cdef public double began
    cdef public long long unread
    cdef public double mark
    cdef public HttpCall handle
    cdef readonly int status
    cdef readonly list headers
    cdef public StreamFilter stream
    cdef public Relay relay
    cdef public bint over
    cdef public bint late

    cpdef prepare(self, AttemptOwner delivery, Target target, bint usage_asked)

    @cython.locals(name=bytes, value=bytes, coding=bytes)
    cpdef Sink head(self, int status, list headers)
    cpdef void write(self, bytes data)
    cpdef void finish(self)
    cpdef void fail(self, object error)
    cpdef Sink open(self)
    cpdef ended(self, StreamFilter stream)

    @cython.locals(verdict=int, start=Py_ssize_t, end=Py_ssize_t)
    cdef _finish(self)
    cdef Sink _accept(self, bytes content_type)
    cdef Sink _relay(self)
    cdef Sink _collect(self, long long limit)
    cdef Sink _reject(self, object error)
