cimport cython


cdef Py_ssize_t _IDS


@cython.locals(ids=tuple)
cpdef object payer_of(object key)
