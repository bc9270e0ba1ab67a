from fastpath.guard.label cimport Label


cdef class Classes:
    cdef readonly str common
    cdef readonly str assumed
    cdef dict _tenants
    cdef dict _plain
    cdef dict _kept

    cpdef Label label(self, str said, str tenant, str model)
    cdef Label _keep(self, str said, str tenant, str model)
