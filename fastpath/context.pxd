from _native.door cimport Exchange
from _native.jsonscan cimport Members
from backends.dialects.gist cimport Gist
from fastpath.account.held cimport Held
from fastpath.account.tariff cimport Terms
from fastpath.endpoints.paths cimport ApiPath
from fastpath.guard.label cimport Label
from fastpath.identity.known cimport Known
from fastpath.limits.admission cimport Ticket
from fastpath.record cimport DecisionRecord
from fastpath.running cimport Running
from fastpath.snapshot cimport Route, Snapshot


cdef class RequestContext:
    cdef readonly Exchange exchange
    cdef readonly DecisionRecord record
    cdef readonly bytes id
    cdef readonly Snapshot snapshot
    cdef public ApiPath path
    cdef public object key
    cdef public Known known
    cdef public object account
    cdef public Route route
    cdef public Gist gist
    cdef public Members members
    cdef public bytes body
    cdef public long long reserved
    cdef public double ends
    cdef public str asked
    cdef readonly double arrived
    cdef public double read_at
    cdef public double upstream
    cdef public Ticket ticket
    cdef public long long answer_most
    cdef public long long answers
    cdef public long long pictures
    cdef public Held held
    cdef public Terms terms
    cdef public list edits
    cdef public list prompt_sample
    cdef public tuple booked
    cdef public str substitute
    cdef public object claim
    cdef public Running running
    cdef public bint settled
    cdef public unsigned long long mark
    cdef public int mark_place
    cdef public int tiers
    cdef public Label label
    cdef public object wanted
    cdef readonly list reply_headers

    cpdef prepare(self, Exchange exchange, DecisionRecord record, Snapshot snapshot, double arrived)
