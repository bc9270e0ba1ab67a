cimport cython

from _native.entry cimport Entry, Memo
from _native.outbox cimport id_bytes
from backends.dialects.usage cimport Usage
from fastpath.account.payer cimport payer_of
from fastpath.account.tariff cimport Terms
from fastpath.record cimport DecisionRecord


cdef frozenset _DELIVERED
cdef object _encode
cdef Terms _NO_TERMS


cdef class Clause:
    cdef readonly str model
    cdef readonly str endpoint
    cdef readonly bytes front
    cdef readonly bytes back


cdef class Wording:
    cdef Memo _payers
    cdef Memo _clauses

    cpdef bytes payer(self, object key)

    @cython.locals(found=Clause)
    cpdef Clause clause(self, Terms terms, str model, str endpoint)


cpdef Clause clause_of(Terms terms, str model, str endpoint)
cpdef tuple booking_of(str request, bytes payer)
cpdef write_intent(Entry entry, tuple booking, DecisionRecord record, Clause clause, long long reserved, long long most)
cpdef write_end(Entry entry, tuple booking, DecisionRecord record, str model, str path)
cpdef tuple attempts_of(DecisionRecord record)
cdef _write_attempt(Entry entry, DecisionRecord record)
cdef _write_usage(Entry entry, Usage usage)
cdef object _last_of(DecisionRecord record)
