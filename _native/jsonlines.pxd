"""JSON objects, one per line, written member by member into one buffer. Nothing is built: a member is copied as text.

    begin  ->  text | integer | real | flag | texts ...  ->  end      and, from another thread, take
"""

cimport cython


@cython.final
cdef class JsonLines:
    cdef char* _data
    cdef Py_ssize_t _size
    cdef Py_ssize_t _room
    cdef Py_ssize_t _whole  # where the open line begins: everything before it is whole lines
    cdef char _lead  # what stands before the next member
    cdef readonly Py_ssize_t count

    cdef int _reserve(self, Py_ssize_t size) except -1
    cdef int _name(self, str name, Py_ssize_t room) except -1
    cdef void _copy(self, const char* text, Py_ssize_t size) noexcept
    cdef int _quote(self, str value) except -1
    cdef void _digits(self, unsigned long long number, int least) noexcept
    cpdef begin(self)
    cpdef text(self, str name, str value)
    cpdef integer(self, str name, object value)
    cpdef whole(self, str name, long long value)
    cpdef real(self, str name, object value, int places)
    cpdef flag(self, str name, bint value)
    cpdef texts(self, str name, object values)
    cpdef end(self)
    cpdef cancel(self)
