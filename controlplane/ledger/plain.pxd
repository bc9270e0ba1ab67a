cimport cython

from _native.hmac256 cimport Keyed
from controlplane.ledger.dockets cimport Docket
from controlplane.ledger.tally cimport Share, Tally
from scheduler.money cimport answer_rates, divide_half_even, price_for, prompt_rates


cdef class Plains:
    cdef object _policy
    cdef Keyed _keyed
    cdef object _now
    cdef object _outcome
    cdef bint _pays
    cdef object _price
    cdef object _once
    cdef tuple _rates
    cdef readonly Py_ssize_t count
    cdef readonly list values
    cdef readonly Tally sums

    cpdef bint take(self, Docket docket) except -1
    cdef bint _is_paid(self, object outcome) except -1
    cdef _learn(self, object price)


@cython.locals(scaled=double, whole=cython.longlong, rest=double)
cdef object _micros(double seconds)
