cimport cython

from backends.dialects.gist cimport Gist, Gists
from backends.dialects.openai cimport decode as read_decision
from fastpath.context cimport RequestContext
from fastpath.endpoints.paths cimport ApiPath


cpdef check_head(RequestContext ctx, ApiPath path)


@cython.locals(gist=Gist)
cpdef str decode(RequestContext ctx, bytes body, Gists gists)
