cimport cython

from fastpath.context cimport RequestContext
from fastpath.guard.stage cimport classify
from fastpath.identity.known cimport Known
from fastpath.snapshot cimport Route, may_use


@cython.locals(found=Route, known=Known)
cpdef route(RequestContext ctx, str model)
