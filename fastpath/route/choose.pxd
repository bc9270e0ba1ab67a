from fastpath.context cimport RequestContext
from fastpath.route.asked cimport ask
from fastpath.runtime cimport Runtime
from fastpath.snapshot cimport Route, Target


cpdef Target choose(RequestContext ctx, Route route, tuple left, Runtime runtime)
