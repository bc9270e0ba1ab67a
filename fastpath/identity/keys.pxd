cdef class KeyHasher:
    cdef object _state
    cdef readonly str pepper_id

    cpdef bytes digest(self, bytes token)


cdef class KeyTable:
    cdef KeyHasher _hasher
    cdef tuple _nobody
    cdef dict _by_digest


cpdef bytes bearer_token(bytes authorization)
