from fastpath.context cimport RequestContext
from fastpath.record cimport DecisionRecord
from fastpath.snapshot cimport Target


cdef class Books:
    cdef object _writer

    cpdef bint intend(self, RequestContext ctx, Target target) except -1
    cpdef mark(self, RequestContext ctx, long long events)
    cpdef end(self, RequestContext ctx)


cpdef tuple attempts_of(DecisionRecord record)
cdef object _last_of(DecisionRecord record)
cdef bytes _id_of(DecisionRecord record)
