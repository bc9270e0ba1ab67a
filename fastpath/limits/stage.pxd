cimport cython

from fastpath.account.hold cimport hold
from fastpath.account.held cimport Held
from fastpath.context cimport RequestContext
from fastpath.endpoints.paths cimport ApiPath
from fastpath.guard.stage cimport classify
from fastpath.limits.admission cimport Rejection
from fastpath.limits.desk cimport Desk, Standing, caller_of
from fastpath.runtime cimport Runtime
from fastpath.snapshot cimport Route


@cython.locals(desk=Desk, standing=Standing, route=Route, path=ApiPath, held=Held, headers=list, now=double,
               wall=double, given=cython.longlong, taken=cython.longlong,
               money=cython.longlong)
cpdef limit(RequestContext ctx, Runtime runtime)


@cython.locals(held=Held, most=cython.longlong)
cdef (long long, long long) _tokens(RequestContext ctx, bint bounded)


@cython.locals(route=Route, standing=Standing, found=Route, cheaper=str)
cdef Standing _standing(RequestContext ctx, Desk desk)
