cdef class Call:
    cdef public str method
    cdef public str path
    cdef public bytes fields
    cdef public bytes body
    cdef public object feed
    cdef public object length
    cdef public bint repeatable

    cpdef prepare(self, str method, str path, bytes fields, bytes body, object feed, object length, bint repeatable)
