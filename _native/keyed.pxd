"""BLAKE2b under one key. The arithmetic is in blake2b.h."""

cimport cython
from libc.stdint cimport uint32_t

cdef extern from "blake2b.h" nogil:
    ctypedef struct fpb_state:
        uint32_t out_size


@cython.final
cdef class KeyedHash:
    cdef fpb_state _state

    cpdef bytes digest(self, bytes data)
