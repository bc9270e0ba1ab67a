from fastpath.context cimport RequestContext


cdef class Recorder:
    cdef readonly object archive
    cdef object _fingerprints
    cdef long long _share
    cdef frozenset _required
    cdef object _facts

    cpdef use(self, object settings)
    cpdef bint admits(self, RequestContext ctx) except -1
    cpdef note(self, RequestContext ctx)
    cpdef take(self, RequestContext ctx)
    cdef bint _is_drawn(self, RequestContext ctx) except -1
    cdef bint _is_required(self, RequestContext ctx) except -1
    cdef _take_fingerprint(self, RequestContext ctx)
    cdef object _decision(self, RequestContext ctx)


cpdef tuple trace_of(RequestContext ctx)
cpdef bytes headline_of(RequestContext ctx)
