from fastpath.context cimport RequestContext
from fastpath.explain.recorder cimport headline_of


cpdef list lasting(RequestContext ctx, object headers)
cpdef explain(RequestContext ctx, list headers)
cpdef bint stored(RequestContext ctx) except -1
cpdef bint usage_wanted(RequestContext ctx) except -1
