"""What a scan of a whole body found, without making objects of it. See answers.pyi for the contract."""

from _native.jsonscan cimport Members, Numbers


cpdef enum:
    SOUND = 0
    NOT_JSON = 1
    ERROR_OBJECT = 2
    BARE_VALUE = 3


cpdef bint is_plain(Members members) except -1
cpdef (int, Py_ssize_t, Py_ssize_t) read_answer(bytes body)
cpdef (bint, long long, long long, long long, long long, long long, long long, long long) seven_numbers(
    Numbers numbers, bytes text, Py_ssize_t start, Py_ssize_t end)
