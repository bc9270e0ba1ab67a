from _native.hmac256 cimport Keyed
from controlplane.ledger.dockets cimport Docket
from controlplane.ledger.tally cimport Share, Tally
from scheduler.money cimport answer_rates, divide_half_even, pico_of, prompt_rates


cdef class Plains:
    cdef object _policy
    cdef Keyed _keyed
    cdef object _now
    cdef object _outcome
    cdef bint _pays
    cdef object _price
    cdef object _fresh
    cdef object _output
    cdef object _once
    cdef readonly list rows
    cdef readonly Tally sums

    cpdef bint take(self, Docket docket) except -1
    cdef bint _is_paid(self, object outcome) except -1
    cdef object _pico_of(self, object price, object used, tuple parts)
