cimport cython

from _native.outbox cimport id_bytes
from fastpath.account.held cimport Held
from fastpath.account.payer cimport payer_of
from fastpath.account.tariff cimport Terms
from fastpath.context cimport RequestContext
from fastpath.record cimport DecisionRecord
from fastpath.snapshot cimport Route, Target


cdef Terms _NO_TERMS


cdef class Books:
    cdef object _writer

    @cython.locals(record=DecisionRecord, route=Route, held=Held, terms=Terms, booking=tuple)
    cpdef bint intend(self, RequestContext ctx, Target target) except -1
    cpdef mark(self, RequestContext ctx, long long events)

    @cython.locals(record=DecisionRecord, route=Route, booking=tuple)
    cpdef end(self, RequestContext ctx)


cpdef tuple attempts_of(DecisionRecord record)
cdef object _last_of(DecisionRecord record)
cdef tuple _booking_of(RequestContext ctx)
