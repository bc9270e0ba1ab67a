from _native.http1 cimport write_fields


cdef tuple TO_UPSTREAM

cpdef bytes outbound(dict fields, bytes request_id)
cpdef list inbound(list headers)
cpdef bytes value_of(list headers, bytes name)
