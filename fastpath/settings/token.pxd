cdef class KeyHasher:
    cdef object _state
    cdef readonly str pepper_id

    cpdef bytes digest(self, bytes token)
