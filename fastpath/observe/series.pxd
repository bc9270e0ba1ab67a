cimport cython

from _native.arena cimport Counter, Histogram
from fastpath.record cimport DecisionRecord


cdef class _Handles:
    cdef readonly Counter requests
    cdef readonly Histogram latency
    cdef readonly Histogram first_token
    cdef readonly Histogram per_token
    cdef readonly Histogram overhead
    cdef readonly Counter input
    cdef readonly Counter output
    cdef readonly Counter cached
    cdef readonly Counter cost
    cdef readonly Counter answers


cdef class RequestSeries:
    cdef dict _kinds
    cdef object _metrics

    @cython.locals(handles=_Handles)
    cpdef settled(self, DecisionRecord record, str path, str model)
    cdef _count_unrouted(self, DecisionRecord record, str path)

    @cython.locals(handles=_Handles)
    cdef _Handles _meet(self, tuple kind)
    cdef _count_rare(self, DecisionRecord record, str model, _Handles handles)


cdef _time_tokens(_Handles handles, DecisionRecord record, double ttft_ms)
