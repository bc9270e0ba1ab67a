from fastpath.account.held cimport Held, Lane
from fastpath.context cimport RequestContext


cpdef hold(RequestContext ctx)
cdef bint _is_plain(RequestContext ctx)
cdef bint _hold_by_lane(RequestContext ctx, Lane lane)
