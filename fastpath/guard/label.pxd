cdef class Label:
    cdef readonly str data_class
    cdef readonly object tiers
    cdef readonly object regions
    cdef readonly bint assumed
    cdef readonly int reach

    cpdef Label join(self, Label other)
