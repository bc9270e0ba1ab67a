from fastpath.context cimport RequestContext
from fastpath.guard.stage cimport classify


cpdef route(RequestContext ctx, str model)
