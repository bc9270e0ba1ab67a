from _native.limiter cimport Limiter


cdef class Plan:
    cdef readonly tuple rates
    cdef readonly tuple slots
    cdef readonly tuple funds
    cdef readonly str model
    cdef readonly long long lease
    cdef readonly long long due
    cdef readonly double since
    cdef readonly double until
    cdef readonly tuple spans
    cdef readonly bint degrades
    cdef readonly dict noted
    cdef readonly object parts
    cdef object _capacity
    cdef readonly Limiter limiter
