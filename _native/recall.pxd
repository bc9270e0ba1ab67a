"""Reads facts, and gives what repeats in them as one object. See recall.pyi for the contract."""

from libc.stdint cimport uint8_t

cdef struct Place:
    const uint8_t* at
    const uint8_t* end


cdef class Recall:
    cdef object decode
    cdef object intent
    cdef object closing
    cdef object attempt
    cdef object usage
    cdef Py_ssize_t most
    cdef dict intents
    cdef dict ends

    cpdef object read(self, bytes data)
    cdef object read_intent(self, Place* place, bytes data)
    cdef object read_end(self, Place* place, bytes data)
    cdef object keep(self, dict known, bytes key, tuple shared)
