from _native.jsonlines cimport JsonLines


cdef class RecordWriter:
    cdef JsonLines _lines
    cdef Py_ssize_t _capacity
    cdef Py_ssize_t _half
    cdef object _output
    cdef long long _refused
    cdef long long _lost
    cdef long long _written
    cdef Py_ssize_t _in_hand
    cdef bint _failing
    cdef object _wake
    cdef object _closing
    cdef object _abandon
    cdef object _thread

    cpdef put(self, object record)
