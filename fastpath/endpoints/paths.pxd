cdef class ApiPath:
    cdef readonly str template
    cdef readonly str api
    cdef readonly bint by_piece
    cdef readonly str method
    cdef readonly str body
    cdef readonly str dialect
    cdef readonly str upstream
    cdef readonly object decode
    cdef readonly bint asks_usage
    cdef readonly bint json_reply
    cdef readonly bint is_upload
    cdef readonly bint is_form
    cdef readonly bint has_body
    cdef readonly bint is_open


cdef dict BY_PATH
cdef ApiPath ONE_MODEL
cdef ApiPath ONE_DECISION

cpdef ApiPath find(str path)
