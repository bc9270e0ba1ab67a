cimport cython

from fastpath.account.cost cimport bill
from fastpath.context cimport RequestContext
from fastpath.limits.admission cimport Ticket
from fastpath.runtime cimport Runtime


cpdef settle(RequestContext ctx, Runtime runtime)
cpdef long long overhead_us(RequestContext ctx, double now)


@cython.locals(ticket=Ticket)
cpdef give_back(RequestContext ctx, double now)
