cimport cython

from _native.answers cimport is_plain
from fastpath.account.held cimport Held, Lane
from fastpath.account.tariff cimport Accounts, Tariff
from fastpath.context cimport RequestContext
from fastpath.endpoints.paths cimport ApiPath
from fastpath.record cimport DecisionRecord
from fastpath.snapshot cimport Route


@cython.locals(route=Route, path=ApiPath, record=DecisionRecord, tariff=Tariff, plain=bint, accounts=Accounts,
               lane=Lane)
cpdef hold(RequestContext ctx)


@cython.locals(path=ApiPath)
cdef bint _is_plain(RequestContext ctx)
cdef bint _hold_by_lane(RequestContext ctx, Lane lane)
