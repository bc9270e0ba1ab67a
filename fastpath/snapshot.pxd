from fastpath.account.tariff cimport Accounts, Tariff
from fastpath.guard.classes cimport Classes
from fastpath.identity.keys cimport KeyTable
from fastpath.route.heard cimport Heard
from scheduler.health cimport Vitals


cdef class Target:
    cdef readonly object spec
    cdef readonly int slot
    cdef readonly object backend
    cdef readonly Heard heard
    cdef readonly frozenset paths
    cdef readonly object offers
    cdef readonly str name
    cdef readonly str tier
    cdef readonly str model
    cdef public bint refuses_usage
    cdef public Vitals vitals


cdef class Route:
    cdef readonly str name
    cdef readonly Tariff tariff
    cdef readonly object lineup
    cdef readonly tuple targets
    cdef readonly object picker
    cdef readonly bint keyed
    cdef readonly object timeouts
    cdef readonly tuple chain
    cdef readonly str data_class
    cdef readonly int reach
    cdef bint _restricted

    cpdef tuple serving(self, str path)


cdef class Snapshot:
    cdef readonly long long version
    cdef readonly object settings
    cdef readonly dict routes
    cdef readonly KeyTable keys
    cdef readonly long long created
    cdef readonly frozenset specs
    cdef readonly Accounts accounts
    cdef readonly object desk
    cdef readonly object rulebook
    cdef readonly object tokens
    cdef readonly Classes classes
    cdef readonly long long json_body
    cdef readonly long long upload_body
    cdef readonly long long response_body
    cdef readonly long long frame
    cdef readonly double client_body

    cpdef Route route(self, str model)


cpdef bint may_use(object key, str model) except -1
