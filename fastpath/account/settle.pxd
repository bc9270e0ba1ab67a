from fastpath.account.cost cimport bill
from fastpath.context cimport RequestContext
from fastpath.runtime cimport Runtime


cpdef settle(RequestContext ctx, Runtime runtime)
cpdef long long overhead_us(RequestContext ctx, double now)
cpdef give_back(RequestContext ctx, double now)
