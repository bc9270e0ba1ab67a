"""A key of HMAC-SHA-256 and the digests under it. See hmac256.pyi for the contract."""

from libc.stdint cimport uint8_t

cdef extern from "hmac256.h" nogil:
    ctypedef bint fph_bool "bool"

    ctypedef struct fph_key:
        pass

    enum:
        FPH_BLOCK
        FPH_SIZE

    fph_bool fph_is_fast()
    void fph_begin(fph_key* key, const uint8_t* secret, size_t size, fph_bool fast)
    void fph_sign(const fph_key* key, const uint8_t* data, size_t size, uint8_t* digest, fph_bool fast)


cdef class Keyed:
    cdef fph_key key
    cdef fph_bool fast

    cpdef bytes digest(self, bytes message)
    cpdef bytearray ids(self, bytes head, bytes first, bytes second, Py_ssize_t size)
    cdef _sign_both(self, bytes head, bytes tail, char* to, Py_ssize_t size)
