"""Numbers out of whole bodies. See answers.pyi for the contract."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from _native.jsonscan cimport FRAME_ERROR, FrameFacts, Members, Numbers, scan_frame

cdef enum:
    MOST_NUMBERS = 16  # of `Numbers`
    TOLD = 7


cpdef bint is_plain(Members members) except -1:
    if members is None:
        raise TypeError("members are needed")
    return members.found.plain


cpdef (int, Py_ssize_t, Py_ssize_t) read_answer(bytes body):
    cdef FrameFacts facts
    cdef const unsigned char* p
    cdef Py_ssize_t at = 0
    if body is None:
        raise TypeError("an answer is bytes, not None")
    p = <const unsigned char*> PyBytes_AS_STRING(body)
    if scan_frame(p, PyBytes_GET_SIZE(body), &facts) >= 0:
        return NOT_JSON, -1, -1
    if facts.flags & FRAME_ERROR:
        return ERROR_OBJECT, -1, -1
    while p[at] <= 32:  # space: it is valid
        at += 1
    if p[at] != b"{" and p[at] != b"[":
        return BARE_VALUE, -1, -1
    return SOUND, facts.usage_start, facts.usage_end


cpdef (bint, long long, long long, long long, long long, long long, long long, long long) seven_numbers(
    Numbers numbers, bytes text, Py_ssize_t start, Py_ssize_t end
):
    cdef long long[MOST_NUMBERS] found
    cdef const unsigned char* p
    cdef bint sound
    cdef int i
    if numbers is None or text is None or numbers.told != TOLD:
        raise TypeError("seven numbers of a text are needed")
    if not 0 <= start <= end <= PyBytes_GET_SIZE(text):
        raise IndexError(f"no part of {PyBytes_GET_SIZE(text)} bytes: {start} to {end}")
    for i in range(MOST_NUMBERS):
        found[i] = -1
    p = <const unsigned char*> PyBytes_AS_STRING(text)
    sound = start < end and p[start] == b"{" and numbers.walk(p, start, end, None, found) == end
    return sound, found[0], found[1], found[2], found[3], found[4], found[5], found[6]
