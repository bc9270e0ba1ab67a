cpdef tuple read_report(bytes value)
cdef dict _parse(bytes value)
cdef dict _pairs(list pieces)
cdef _number(dict metrics, frozenset names, double most)
