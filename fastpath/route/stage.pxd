from fastpath.context cimport RequestContext


cpdef route(RequestContext ctx, str model)
