from _native.limiter cimport Limiter


cdef class Plan:
    # What every request reads lies together, first.
    cdef readonly Limiter limiter
    cdef readonly long long due
    cdef readonly long long lease
    cdef readonly double since
    cdef readonly double until
    cdef readonly object parts
    cdef readonly bint degrades
    cdef readonly tuple rates
    cdef readonly tuple slots
    cdef readonly tuple funds
    cdef readonly str model
    cdef readonly tuple spans
    cdef readonly dict noted
    cdef object _capacity
