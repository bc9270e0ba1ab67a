from _native.rates cimport Rates
from backends.dialects.usage cimport Usage
from fastpath.context cimport RequestContext


cpdef bill(RequestContext ctx)
cdef object _by(Rates rates, Usage usage)
