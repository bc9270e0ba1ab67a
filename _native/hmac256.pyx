"""HMAC-SHA-256 of short messages. See hmac256.pyi for the contract."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef enum:
    LONGEST = 128   # bytes of what an id is made of: 16 of a request, and the name of what follows

BLOCK = FPH_BLOCK


@cython.final
cdef class Keyed:

    def __init__(self, bytes secret not None, fph_bool plain=False):
        if PyBytes_GET_SIZE(secret) > FPH_BLOCK:
            raise ValueError(f"a key has at most {FPH_BLOCK} bytes")
        self.fast = not plain and fph_is_fast()
        fph_begin(&self.key, <const uint8_t*> PyBytes_AS_STRING(secret), PyBytes_GET_SIZE(secret), self.fast)

    cpdef bytes digest(self, bytes message):
        cdef uint8_t found[FPH_SIZE]
        if message is None:
            raise TypeError("a message is bytes")
        fph_sign(
            &self.key, <const uint8_t*> PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), found, self.fast
        )
        return PyBytes_FromStringAndSize(<const char*> found, FPH_SIZE)

    cpdef bytearray ids(self, bytes head, bytes first, bytes second, Py_ssize_t size):
        cdef bytearray found
        cdef char* at
        if head is None or first is None or second is None:
            raise TypeError("a message is bytes")
        if not 0 <= size <= FPH_SIZE:
            raise ValueError(f"a digest has {FPH_SIZE} bytes")
        found = PyByteArray_FromStringAndSize(NULL, PyBytes_GET_SIZE(head) + 2 * size)
        at = PyByteArray_AS_STRING(found)
        memcpy(at, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        at += PyBytes_GET_SIZE(head)
        self._sign_both(head, first, at, size)
        self._sign_both(head, second, at + size, size)
        return found

    cdef _sign_both(self, bytes head, bytes tail, char* to, Py_ssize_t size):
        """The first `size` bytes of the digest of both, one behind the other."""
        cdef uint8_t message[LONGEST]
        cdef uint8_t found[FPH_SIZE]
        cdef Py_ssize_t before = PyBytes_GET_SIZE(head), whole = before + PyBytes_GET_SIZE(tail)
        if whole > LONGEST:
            raise ValueError(f"what an id is made of has at most {LONGEST} bytes")
        memcpy(message, PyBytes_AS_STRING(head), before)
        memcpy(message + before, PyBytes_AS_STRING(tail), whole - before)
        fph_sign(&self.key, message, whole, found, self.fast)
        memcpy(to, found, size)
