"""HMAC-SHA-256 of short messages. See hmac256.pyi for the contract."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

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
