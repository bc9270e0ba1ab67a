cpdef list tally(object lines)
cdef _add_row(dict rows, tuple row, object more)
cdef _add(list sums, object more)
