from _native.jsonscan cimport Numbers


cdef class Usage:
    cdef public long long input
    cdef public long long output
    cdef public long long cached
    cdef public long long reasoning
    cdef public bint disputed


cpdef Usage usage_of(bytes raw)
cdef Usage _usual(bytes raw)
cpdef Usage read_usage(bytes data, bytes head=*)
cdef object _counts(bytes raw)
cdef bint _says_something(object counts) except -1
cdef _add(Usage usage, object found)
