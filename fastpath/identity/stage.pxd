from fastpath.context cimport RequestContext
from fastpath.identity.keys cimport KeyTable


cpdef identify(RequestContext ctx)
cdef bytes _single_credential(RequestContext ctx)
