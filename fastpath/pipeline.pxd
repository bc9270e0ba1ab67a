cimport cython

from _native.door cimport Exchange
from backends.dialects.gist cimport Gists
from fastpath.context cimport RequestContext
from fastpath.account.settle cimport settle
from fastpath.endpoints.decode cimport check_head, decode
from fastpath.endpoints.paths cimport ApiPath, find
from fastpath.identity.client cimport ClientAddress
from fastpath.identity.known cimport Acquaintances
from fastpath.identity.stage cimport identify
from fastpath.limits.stage cimport limit
from fastpath.record cimport DecisionRecord
from fastpath.relay.delivery cimport Delivery
from fastpath.route.stage cimport route
from fastpath.runtime cimport Runtime
from fastpath.snapshot cimport Snapshot


cdef class WholeBody


cdef class Pipeline:
    cdef Runtime _runtime
    cdef object _report
    cdef object _settled
    cdef Gists _gists
    cdef Acquaintances _acquaintances
    cdef readonly Snapshot snapshot
    cdef ClientAddress _client

    cpdef begin(self, Exchange exchange)
    cpdef proceed(self, RequestContext ctx, bytes body)

    @cython.locals(delivery=Delivery)
    cpdef Delivery dispatch(self, RequestContext ctx, str model, object call)
    cpdef reserve(self, RequestContext ctx, long long size)
    cpdef refuse(self, RequestContext ctx, object error)
    cpdef fail(self, RequestContext ctx, object error)
    cdef _admit(self, RequestContext ctx)
    cdef bytes _reply_of(self, RequestContext ctx, ApiPath path)

    @cython.locals(record=DecisionRecord, ctx=RequestContext)
    cdef RequestContext _open(self, Exchange exchange)
    cdef ApiPath _match(self, RequestContext ctx)

    @cython.locals(taker=WholeBody)
    cdef _read(self, RequestContext ctx, ApiPath path)
    cdef _answer(self, RequestContext ctx, bytes body)
    cpdef _settle(self, RequestContext ctx)


cdef class WholeBody:
    cdef Pipeline _pipeline
    cdef RequestContext _ctx

    cpdef prepare(self, Pipeline pipeline, RequestContext ctx)
