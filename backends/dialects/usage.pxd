cpdef object usage_of(bytes raw)
cpdef object read_usage(bytes data, bytes head=*)
cdef object _counts(bytes raw)
cdef bint _says_something(object counts) except -1
cdef _add(object usage, object found)
