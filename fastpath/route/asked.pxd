cimport cython

from fastpath.context cimport RequestContext
from fastpath.runtime cimport Runtime
from fastpath.snapshot cimport Route
from scheduler.ask cimport Ask


cdef long long MOST_TOKENS


@cython.locals(tokens=cython.longlong)
cpdef long long tokens_to_read(RequestContext ctx) except -1
cpdef Ask ask(RequestContext ctx, Route route, Runtime runtime)
cpdef affinity(RequestContext ctx)
