cpdef bytes outbound(dict fields, str request_id)
cpdef list inbound(list headers)
cpdef bytes value_of(list headers, bytes name)
