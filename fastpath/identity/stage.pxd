from fastpath.context cimport RequestContext
from fastpath.identity.keys cimport KeyTable


cpdef identify(RequestContext ctx)
cpdef bytes single_credential(RequestContext ctx)
