cdef class Docket:
    cdef readonly bytes request
    cdef readonly tuple intents
    cdef readonly tuple marks
    cdef readonly object end
    cdef readonly tuple first
    cdef readonly tuple last

    cpdef add(self, object fact)
    cpdef take(self, object fact, tuple values)


cdef class Judge:
    cdef double _now
    cdef double _late
    cdef object _price
    cdef object _price_fault
    cdef dict _prices
    cdef dict _sent
    cdef dict _ended
    cdef readonly tuple values

    cpdef find_fault(self, object fact)
    cdef object _fault_of_intent(self, object fact)
    cdef object _fault_of_end(self, object fact)
    cdef object _fault_of_price(self, object price)
    cdef object _fault_of_time(self, double ts)


cdef object _fault_of_names(dict judged, object payer, str one, str two, str three)
cdef object _fault_of_rate(object price, object currency, object rate)
cdef object _fault_of_attempts(tuple attempts)
cdef object _fault_of_attempt(object attempt)
cdef object _fault_of_texts(tuple texts)
