from _native.keytable cimport KeyLookup
from fastpath.identity.keys cimport KeyTable, bearer_token


cdef class PublishedKeys(KeyTable):
    cdef object _roster
    cdef list _teams
    cdef list _users
    cdef KeyLookup _lookup
    cdef frozenset _taken
    cdef dict _met
    cdef dict _met_terms

    cpdef object find(self, bytes authorization)
    cdef object _key_at(self, long row, bytes digest)
    cdef object _make(self, long row, bytes digest)
