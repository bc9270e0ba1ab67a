"""The key table: fixed rows sorted by digest in one buffer, found without decoding. See keytable.pyi for the contract.

Layout, little-endian. Header, 128 bytes: magic 8, layout u32, row size u32, count u64, kind u32 (0 base, 1 delta),
deepest u32, pepper id 8, nothing 8, root of the base that a delta changes 32, root 32, nothing 16. Rows, 96 bytes each:
digest 32, key id 16, tenant, team, user, grant, plan u32 each, flags u32, valid from, valid until i64, data class u8,
nothing 7. Directory: for each beginning of a digest, of as many bits as the count asks for, the first row not before
it, u32. `deepest` is the number of rows under the beginning that has most: it bounds every search.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

ctypedef const unsigned char* Bytes


cdef struct Span:
    Bytes rows
    uint64_t count
    Bytes directory
    int shift        # of the first 8 bytes of a digest, to an entry of the directory
    uint64_t width   # rows that a search looks at: fixed, so that every search takes the same steps


cdef struct Most:
    uint64_t index[5]  # tenants, teams, users, grants, plans of the policy that the rows point into


@cython.final
cdef class KeyTable:
    cdef Py_buffer view
    cdef bint held
    cdef Span span
    cdef Most most           # no bounds: a table alone knows no policy
    cdef readonly str pepper_id
    cdef readonly bytes root
    cdef readonly bytes base_root
    cdef readonly bint is_delta

    cdef Bytes at(self, long row) noexcept nogil
    cdef long find_row(self, Bytes digest, int64_t now_ms) noexcept nogil


@cython.final
cdef class KeyLookup:
    cdef readonly KeyTable base
    cdef readonly KeyTable delta
    cdef Span under          # the base's
    cdef Span over           # the delta's, without rows when there is none
    cdef Most most

    # A row, or a negative reason. The same steps and the same memory traffic whatever is presented.
    cdef long find_row(self, Bytes digest, int64_t now_ms) noexcept nogil
    # NULL when there is no such row.
    cdef Bytes at(self, long row) noexcept nogil

    cpdef long tenant(self, long row) noexcept
    cpdef long team(self, long row) noexcept
    cpdef long user(self, long row) noexcept
    cpdef long grant(self, long row) noexcept
    cpdef long plan(self, long row) noexcept
    cpdef long flags(self, long row) noexcept
    cpdef long data_class(self, long row) noexcept
    cpdef int64_t valid_until(self, long row) noexcept
    cpdef bytes key_id(self, long row)
