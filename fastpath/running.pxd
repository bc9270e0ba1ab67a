cdef class Running:
    cdef public long long count
