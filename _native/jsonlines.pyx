"""Lines of JSON. See jsonlines.pyi for the contract."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.math cimport fabs, llrint
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memmove

cdef extern from *:
    """
    /* UTF-8 of a string: without a call when it is plain ASCII, as nearly all are. */
    static inline const char *fp_utf8(PyObject *text, Py_ssize_t *size) {
        if (PyUnicode_IS_COMPACT_ASCII(text)) {
            *size = PyUnicode_GET_LENGTH(text);
            return (const char *)PyUnicode_1BYTE_DATA(text);
        }
        return PyUnicode_AsUTF8AndSize(text, size);
    }
    """
    const char* fp_utf8(object text, Py_ssize_t* size) except NULL

cdef extern from "swar.h":
    uint64_t fp_load(const unsigned char* p) noexcept nogil
    uint64_t fp_escape_stops(uint64_t x) noexcept nogil

cdef enum:
    FIRST_ROOM = 16384
    NUMBER = 24  # the longest 64-bit number, its sign and a decimal point
    ESCAPED = 6  # \u001f

cdef const char* HEX = "0123456789abcdef"
cdef double LARGEST = 9e9
cdef double[10] SCALES = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]
cdef unsigned long long[10] UNITS = [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000]


cdef bint is_plain(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    """Whether a string may be copied as it is."""
    cdef Py_ssize_t i = 0
    if size >= 8:
        while i < size:
            i = min(i, size - 8)  # the last eight overlap those before
            if fp_escape_stops(fp_load(p + i)):
                return False
            i += 8
        return True
    while i < size:
        if p[i] < 0x20 or p[i] == 0x22 or p[i] == 0x5C:
            return False
        i += 1
    return True


cdef class JsonLines:

    def __cinit__(self):
        self._lead = b"{"

    def __dealloc__(self):
        PyMem_Free(self._data)

    cdef int _reserve(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t room = self._room
        cdef void* grown
        if self._size + size <= room:
            return 0
        room = max(FIRST_ROOM, 2 * room, self._size + size)
        grown = PyMem_Realloc(self._data, room)
        if grown == NULL:
            raise MemoryError
        self._data = <char*> grown
        self._room = room
        return 0

    cdef void _copy(self, const char* text, Py_ssize_t size) noexcept:
        memcpy(self._data + self._size, text, size)
        self._size += size

    cdef int _name(self, str name, Py_ssize_t room) except -1:
        """Everything before a value, and `room` bytes for it."""
        cdef Py_ssize_t size
        cdef const char* text = fp_utf8(name, &size)
        cdef char* out
        self._reserve(size + 4 + room)
        out = self._data + self._size
        out[0] = self._lead
        out[1] = b'"'
        memcpy(out + 2, text, size)
        out[size + 2] = b'"'
        out[size + 3] = b":"
        self._size += size + 4
        self._lead = b","
        return 0

    cdef int _quote(self, str value) except -1:
        cdef Py_ssize_t size, i
        cdef unsigned char c
        cdef const char* text = fp_utf8(value, &size)
        cdef char* out
        self._reserve(size * ESCAPED + 2)
        out = self._data + self._size
        out[0] = b'"'
        if is_plain(<const unsigned char*> text, size):
            memcpy(out + 1, text, size)
            out += size + 1
        else:
            out += 1
            for i in range(size):
                c = <unsigned char> text[i]
                if c == 0x22 or c == 0x5C:
                    out[0] = b"\\"
                    out[1] = <char> c
                    out += 2
                elif c < 0x20:
                    memcpy(out, "\\u00", 4)
                    out[4] = HEX[c >> 4]
                    out[5] = HEX[c & 15]
                    out += 6
                else:
                    out[0] = <char> c
                    out += 1
        out[0] = b'"'
        self._size = out + 1 - self._data
        return 0

    cdef void _digits(self, unsigned long long number, int least) noexcept:
        """A number in decimal, with zeros before it up to `least` digits."""
        cdef char[NUMBER] digits
        cdef int at = NUMBER
        while number or NUMBER - at < least:
            at -= 1
            digits[at] = <char> (48 + number % 10)
            number //= 10
        self._copy(digits + at, NUMBER - at)

    cpdef begin(self):
        self._size = self._whole
        self._lead = b"{"

    cpdef text(self, str name, str value):
        self._name(name, 4)
        if value is None:
            self._copy("null", 4)
        else:
            self._quote(value)

    cpdef integer(self, str name, object value):
        if value is None:
            self._name(name, 4)
            self._copy("null", 4)
        else:
            self.whole(name, value)

    cpdef whole(self, str name, long long value):
        self._name(name, NUMBER)
        if value < 0:
            self._copy("-", 1)
            self._digits(<unsigned long long> 0 - <unsigned long long> value, 1)
        else:
            self._digits(<unsigned long long> value, 1)

    cpdef real(self, str name, object value, int places):
        cdef double number = 0.0 if value is None else value
        cdef unsigned long long scaled
        if not 0 <= places <= 9:
            raise ValueError(f"not a number of decimals: {places}")
        self._name(name, NUMBER + 2)
        if value is None or not fabs(number) <= LARGEST:
            self._copy("null", 4)
            return
        scaled = <unsigned long long> llrint(fabs(number) * SCALES[places])
        if number < 0 and scaled:
            self._copy("-", 1)
        self._digits(scaled // UNITS[places], 1)
        self._copy(".", 1)
        self._digits(scaled % UNITS[places], max(1, places))

    cpdef flag(self, str name, bint value):
        self._name(name, 5)
        if value:
            self._copy("true", 4)
        else:
            self._copy("false", 5)

    cpdef texts(self, str name, object values):
        cdef const char* lead = "["
        self._name(name, 4)
        if values is None:
            self._copy("null", 4)
            return
        for value in values:
            self._reserve(1)
            self._copy(lead, 1)
            lead = ","
            self._quote(value)
        self._reserve(2)
        if lead[0] == b"[":
            self._copy(lead, 1)
        self._copy("]", 1)

    cpdef end(self):
        self._reserve(3)
        if self._lead == b"{":
            self._copy("{", 1)
        self._copy("}\n", 2)
        self._whole = self._size
        self._lead = b"{"
        self.count += 1

    cpdef cancel(self):
        self._size = self._whole
        self._lead = b"{"

    def take(self):
        cdef bytes lines = PyBytes_FromStringAndSize(self._data, self._whole)
        memmove(self._data, self._data + self._whole, self._size - self._whole)
        self._size -= self._whole
        self._whole = 0
        self.count = 0
        return lines
