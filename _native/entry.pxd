"""A record of the outbox while it is written: MessagePack, value by value, into one buffer that is used again."""

cimport cython
from libc.stdint cimport uint8_t


@cython.final
cdef class Entry:
    cdef uint8_t* _data
    cdef Py_ssize_t _size
    cdef Py_ssize_t _room

    cdef uint8_t* _reserve(self, Py_ssize_t size) except NULL
    cdef int _sized(self, uint8_t small, Py_ssize_t below, uint8_t first, Py_ssize_t size) except -1
    cpdef begin(self)
    cpdef array(self, Py_ssize_t size)
    cpdef blob(self, bytes value)
    cpdef text(self, str value)
    cpdef whole(self, long long value)
    cpdef real(self, double value)
    cpdef flag(self, bint value)
    cpdef nothing(self)
    cpdef raw(self, bytes value)
    cpdef bytes take(self)
    cpdef bint put(self, object writer) except -1
    cpdef bint put_opening(self, object writer) except -1
    cpdef bint put_closing(self, object writer) except -1


@cython.final
cdef class Memo:
    cdef list _of
    cdef list _made

    cpdef object get(self, object of)
    cpdef put(self, object of, object made)
