from fastpath.settings.token cimport KeyHasher


cdef class KeyTable:
    cdef KeyHasher _hasher
    cdef object _now
    cdef tuple _nobody
    cdef dict _by_digest
    cdef dict _terms
    cdef bint _expiring
    cdef readonly bint scoped

    cpdef object find(self, bytes authorization)


cpdef bytes bearer_token(bytes authorization)
cdef bytes _trim(bytes text)
