cimport cython

from _native.answers cimport seven_numbers
from _native.jsonscan cimport Numbers, frame_facts


cdef Numbers _USUAL
cdef long long _IMPOSSIBLE


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
cpdef Usage usage_at(bytes text, Py_ssize_t start, Py_ssize_t end)


@cython.locals(sound=bint, taken=cython.longlong, given=cython.longlong, total=cython.longlong, cached=cython.longlong,
               reasoning=cython.longlong, heard=cython.longlong, spoken=cython.longlong)
cdef Usage _usual(bytes text, Py_ssize_t start, Py_ssize_t end)


@cython.locals(usage=Usage)
cdef Usage _told(long long prompt, long long answer, long long cached, long long reasoning)
cpdef Usage read_usage(bytes data, bytes head=*)
cpdef Usage usage_from(object found)
