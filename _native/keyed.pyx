"""BLAKE2b under one key. See keyed.pyi for the contract."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "blake2b.h" nogil:
    enum:
        FPB_MOST_KEY
        FPB_MOST_OUT

    void fpb_begin(fpb_state* state, const uint8_t* key, uint32_t key_size, uint32_t out_size)
    void fpb_hash(const fpb_state* state, const uint8_t* data, size_t size, uint8_t* out)


cdef class KeyedHash:
    def __init__(self, bytes key not None, Py_ssize_t size=32):
        cdef Py_ssize_t given = PyBytes_GET_SIZE(key)
        if given > FPB_MOST_KEY or not 1 <= size <= FPB_MOST_OUT:
            raise ValueError(f"BLAKE2b has no key of {given} bytes, or no digest of {size}")
        fpb_begin(&self._state, <const uint8_t*> PyBytes_AS_STRING(key), <uint32_t> given, <uint32_t> size)

    cpdef bytes digest(self, bytes data):
        cdef bytes out
        if data is None:
            raise TypeError("bytes are needed")
        out = PyBytes_FromStringAndSize(NULL, self._state.out_size)
        fpb_hash(
            &self._state,
            <const uint8_t*> PyBytes_AS_STRING(data),
            PyBytes_GET_SIZE(data),
            <uint8_t*> PyBytes_AS_STRING(out),
        )
        return out
