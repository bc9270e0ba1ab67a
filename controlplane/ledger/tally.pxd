cdef class Share:
    cdef readonly object payer
    cdef readonly tuple names
    cdef readonly object charge
    cdef readonly object cost
    cdef readonly object requests
    cdef readonly object input_tokens
    cdef readonly object output_tokens

    cpdef add(self, object charge, object cost, object requests, object input_tokens, object output_tokens)


cdef class Tally:
    cdef dict _shares
    cdef str _currency
    cdef object _quarter
    cdef dict _at

    cpdef Share share_of(self, object payer, str currency, object quarter)
    cpdef list rows(self)


cpdef list tally(object lines)
cdef _add_row(dict rows, tuple row, list more)
