from _native.entry cimport Memo


cdef class Known:
    cdef readonly object key
    cdef readonly str name
    cdef readonly str tenant
    cdef readonly object caller
    cdef readonly frozenset models
    cdef readonly bint every_model
    cdef readonly bint insight

    cpdef bint may_use(self, str model) except -1


cdef class Acquaintances:
    cdef Memo _met

    cpdef Known of(self, object key)
