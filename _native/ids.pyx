"""Ids of requests. See ids.pyi for the contract."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from _native.clock cimport Clock

cdef extern from "Python.h":
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    unsigned char* PyUnicode_1BYTE_DATA(object text)

cdef enum:
    HEAD = 16       # "req_" and 12 digits of the time
    DRAWN = 10      # bytes of the generator in an id
    BATCH = 2560

cdef const char* HEX = "0123456789abcdef"


cdef class RequestIds:

    def __init__(self, Clock clock not None, random=os.urandom):
        self._clock = clock
        self._random = random
        self._pool = b""

    cpdef str next(self):
        cdef str id
        cdef const unsigned char* drawn
        cdef unsigned char* out
        cdef int i
        if self._at + DRAWN > PyBytes_GET_SIZE(self._pool):
            self._draw()
        drawn = <const unsigned char*> PyBytes_AS_STRING(self._pool) + self._at
        self._at += DRAWN
        id = PyUnicode_New(HEAD + 2 * DRAWN, 127)
        out = PyUnicode_1BYTE_DATA(id)
        memcpy(out, self._head, HEAD)
        out += HEAD
        for i in range(DRAWN):
            out[2 * i] = HEX[drawn[i] >> 4]
            out[2 * i + 1] = HEX[drawn[i] & 15]
        return id

    cdef int _draw(self) except -1:
        """A batch of random bytes, and the beginning that its ids share."""
        cdef uint64_t milliseconds = <uint64_t> (self._clock.now() * 1000)
        cdef int i
        self._pool = self._random(BATCH)
        self._at = 0
        if PyBytes_GET_SIZE(self._pool) != BATCH:
            raise RuntimeError("the generator gave too few bytes for ids")
        memcpy(self._head, b"req_", 4)
        for i in range(12):
            self._head[4 + i] = HEX[(milliseconds >> (44 - 4 * i)) & 15]
        return 0
