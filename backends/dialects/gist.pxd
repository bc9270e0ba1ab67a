cimport cython


cdef Py_ssize_t PLACES
cdef Py_ssize_t LONGEST


cdef class Gist:
    cdef readonly bytes text
    cdef readonly object decode
    cdef readonly object decision
    cdef readonly str model
    cdef readonly bint stream
    cdef readonly bint stores
    cdef readonly bint wants_usage
    cdef readonly bint plain_is_sound
    cdef readonly long long answer_most
    cdef readonly long long answers


cdef class Gists:
    cdef list _met

    @cython.locals(found=Gist, place=Py_ssize_t)
    cpdef Gist read(self, bytes text, object decode)
