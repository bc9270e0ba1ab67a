cimport cython

from _native.entry cimport Entry
from fastpath.account.held cimport Held
from fastpath.account.wording cimport Clause, Wording, booking_of, write_end, write_intent
from fastpath.context cimport RequestContext
from fastpath.snapshot cimport Route, Target


cdef class Books:
    cdef object _writer
    cdef Entry _entry
    cdef Wording _wording

    @cython.locals(route=Route, held=Held, entry=Entry, clause=Clause, booking=tuple)
    cpdef bint intend(self, RequestContext ctx, Target target) except -1
    cpdef mark(self, RequestContext ctx, long long events)

    @cython.locals(route=Route, entry=Entry)
    cpdef end(self, RequestContext ctx)
    cdef tuple _booking_of(self, RequestContext ctx)
