"""Ids of requests. See ids.pyi for the contract."""

from _native.clock cimport Clock


cdef class RequestIds:
    cdef Clock _clock
    cdef object _random
    cdef bytes _pool
    cdef Py_ssize_t _at
    cdef char[16] _head                 # what the ids of a batch begin with

    cpdef str next(self)
    cdef int _draw(self) except -1
