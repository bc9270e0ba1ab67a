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
    cdef dict same

    cpdef object read(self, bytes data)
    cpdef tuple read_all(self, list found, object apart)
    cdef object read_intent(self, Place* place, bytes data)
    cdef object read_end(self, Place* place, bytes data)
    cdef object one(self, object value)
    cdef tuple keep(self, dict known, bytes key, tuple shared)
