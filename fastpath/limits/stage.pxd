from fastpath.context cimport RequestContext
from fastpath.guard.stage cimport classify
from fastpath.limits.desk cimport Desk, Standing
from fastpath.runtime cimport Runtime


cpdef limit(RequestContext ctx, Runtime runtime)
cdef Standing _standing(RequestContext ctx, Desk desk)
