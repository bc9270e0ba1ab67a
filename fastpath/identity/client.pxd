from _native.door cimport Exchange


cdef class ClientAddress:
    cdef list _trusted

    cpdef str of(self, Exchange exchange)
