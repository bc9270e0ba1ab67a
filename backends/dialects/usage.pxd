from _native.jsonscan cimport Numbers, frame_facts


cdef Numbers _USUAL


cdef class Usage:
    cdef public long long prompt
    cdef public long long answer
    cdef public long long cached
    cdef public long long reasoning
    cdef public bint disputed
    cdef public bint prompt_known
    cdef public bint answer_known
    cdef public object parts

    cpdef object billable(self)
    cpdef object reading(self)


cpdef Usage usage_of(bytes raw)
cdef Usage _usual(bytes raw)
cpdef Usage read_usage(bytes data, bytes head=*)
cpdef Usage usage_from(object found)
