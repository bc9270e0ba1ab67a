from _native.keyed cimport KeyedHash


cdef class KeyHasher:
    cdef KeyedHash _hash
    cdef readonly str pepper_id

    cpdef bytes digest(self, bytes token)
