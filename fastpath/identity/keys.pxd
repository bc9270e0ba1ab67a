from fastpath.settings.token cimport KeyHasher


cdef class KeyTable:
    cdef KeyHasher _hasher
    cdef tuple _nobody
    cdef dict _by_digest


cpdef bytes bearer_token(bytes authorization)
