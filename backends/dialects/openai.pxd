cpdef tuple decode(bytes body, object decoder)
cpdef bytes rename_model(bytes body, dict spans, str name)
cdef _check_message(object message, str where)
