from _native.rates cimport Rates


cdef class Terms:
    cdef readonly object price
    cdef readonly object charge
    cdef readonly long long markup_ppm
    cdef readonly str currency
    cdef readonly object rate
    cdef readonly Rates rates
    cdef readonly Rates dollars


cdef class Accounts:
    cdef dict _tenants
    cdef object _nobody
    cdef object _spender

    cpdef object of(self, object key)


cdef class Days:
    cdef double _since
    cdef double _until
    cdef dict _kept

    cpdef object get(self, object key, double at)
    cpdef put(self, object key, object value, double at)
    cdef _turn(self, double at)


cdef class Tariff:
    cdef readonly object list_price
    cdef readonly object clamp
    cdef readonly bint refuses
    cdef str _limit_field
    cdef object _markup_ppm
    cdef object _rates
    cdef Days _terms
    cdef readonly Days lanes

    cpdef Terms terms(self, object target, str name, object account, double at)
