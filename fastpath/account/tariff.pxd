cimport cython

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

    cpdef double day(self, double at) except? -2
    cpdef object get(self, object key, double at)
    cpdef put(self, object key, object value, double at)
    cdef _turn(self, double at)


cdef Terms _NO_TERMS


cdef class Recent:
    cdef public object path
    cdef public str path_name
    cdef public double path_day
    cdef public object lane
    cdef public object target
    cdef public str target_name
    cdef public double target_day
    cdef public Terms terms


cdef class Tariff:
    cdef readonly object list_price
    cdef readonly object clamp
    cdef readonly bint refuses
    cdef str _limit_field
    cdef object _markup_ppm
    cdef object _rates
    cdef Days _terms
    cdef readonly Days lanes

    cdef dict _recent

    @cython.locals(recent=Recent)
    cpdef Terms terms(self, object target, str name, object account, double at)

    @cython.locals(recent=Recent)
    cpdef object lane(self, str name, object path, object account, double at)

    @cython.locals(recent=Recent)
    cdef Recent _of(self, object account)
