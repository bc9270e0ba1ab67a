"""A record of the outbox while it is written. See entry.pyi for the contract."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from _native.outbox cimport Appender

cdef extern from *:
    """
    /* UTF-8 of a string: without a call when it is plain ASCII, as nearly all are. */
    static inline const char *fp_utf8(PyObject *text, Py_ssize_t *size) {
        if (PyUnicode_Check(text) && PyUnicode_IS_COMPACT_ASCII(text)) {
            *size = PyUnicode_GET_LENGTH(text);
            return (const char *)PyUnicode_1BYTE_DATA(text);
        }
        return PyUnicode_AsUTF8AndSize(text, size); /* TypeError for what is no text */
    }

    /* A byte that says what follows, and a number of 1, 2, 4 or 8 bytes after it, the largest first. */
    static inline Py_ssize_t fp_number(uint8_t *out, uint8_t mark, int bytes, uint64_t value) {
        const uint64_t word = __builtin_bswap64(value << (64 - 8 * bytes));
        out[0] = mark;
        memcpy(out + 1, &word, 8);
        return 1 + bytes;
    }

    /* Of an address, one of 8,192 places. Mixed twice, because objects lie at regular distances: for some of them
       one multiplication left a look-up in five without an answer. */
    static inline size_t fp_place(const void *of) {
        uint64_t x = (uint64_t)(uintptr_t)of * 0x9E3779B97F4A7C15u;
        x ^= x >> 32;
        return (size_t)(x * 0xD6E8FEB86659FD93u >> 51);
    }
    """
    const char* fp_utf8(object text, Py_ssize_t* size) except NULL
    Py_ssize_t fp_number(uint8_t* out, uint8_t mark, int bytes, uint64_t value) noexcept nogil
    size_t fp_place(const void* of) noexcept nogil

cdef enum:
    FIRST_ROOM = 1024
    NUMBER = 9      # bytes that fp_number writes
    PLACES = 8192

cdef union Bits:
    double number
    uint64_t word


cdef class Entry:

    def __dealloc__(self):
        PyMem_Free(self._data)

    cdef uint8_t* _reserve(self, Py_ssize_t size) except NULL:
        """Where the next value goes: there is room for so many bytes."""
        cdef Py_ssize_t room = self._room
        cdef void* grown
        if self._data == NULL or self._size + size > room:
            room = max(FIRST_ROOM, 2 * room, self._size + size)
            grown = PyMem_Realloc(self._data, room)
            if grown == NULL:
                raise MemoryError
            self._data = <uint8_t*> grown
            self._room = room
        return self._data + self._size

    cdef int _sized(self, uint8_t small, Py_ssize_t below, uint8_t first, Py_ssize_t size) except -1:
        """How long something is, and room for it: `small` holds sizes `below`, `first` is the mark of one byte."""
        cdef uint8_t* out
        if not 0 <= size <= 0xFFFFFFFF:
            raise OverflowError("MessagePack has no value that long")
        out = self._reserve(NUMBER + size)
        if size < below:
            out[0] = small | <uint8_t> size
            self._size += 1
        elif size <= 0xFF and first:
            self._size += fp_number(out, first, 1, size)
        elif size <= 0xFFFF:
            self._size += fp_number(out, first + 1, 2, size)
        else:
            self._size += fp_number(out, first + 2, 4, size)
        return 0

    cpdef begin(self):
        self._size = 0

    cpdef array(self, Py_ssize_t size):
        cdef uint8_t* out
        if not 0 <= size < 16:
            raise ValueError(f"an entry has no array of {size}")
        out = self._reserve(1)
        out[0] = 0x90 | <uint8_t> size
        self._size += 1

    cpdef blob(self, bytes value):
        cdef Py_ssize_t size
        if value is None:
            raise TypeError("bytes are needed")
        size = PyBytes_GET_SIZE(value)
        self._sized(0, 0, 0xC4, size)
        memcpy(self._data + self._size, PyBytes_AS_STRING(value), size)
        self._size += size

    cpdef text(self, str value):
        cdef Py_ssize_t size = 0
        cdef const char* text = fp_utf8(value, &size)
        self._sized(0xA0, 32, 0xD9, size)
        memcpy(self._data + self._size, text, size)
        self._size += size

    cpdef whole(self, long long value):
        cdef uint8_t* out = self._reserve(NUMBER)
        if -32 <= value < 0x80:
            out[0] = <uint8_t> value
            self._size += 1
        elif value >= 0:
            if value <= 0xFF:
                self._size += fp_number(out, 0xCC, 1, value)
            elif value <= 0xFFFF:
                self._size += fp_number(out, 0xCD, 2, value)
            elif value <= 0xFFFFFFFF:
                self._size += fp_number(out, 0xCE, 4, value)
            else:
                self._size += fp_number(out, 0xCF, 8, value)
        elif value >= -0x80:
            self._size += fp_number(out, 0xD0, 1, <uint64_t> value)
        elif value >= -0x8000:
            self._size += fp_number(out, 0xD1, 2, <uint64_t> value)
        elif value >= -0x80000000LL:
            self._size += fp_number(out, 0xD2, 4, <uint64_t> value)
        else:
            self._size += fp_number(out, 0xD3, 8, <uint64_t> value)

    cpdef real(self, double value):
        cdef Bits bits
        bits.number = value
        self._size += fp_number(self._reserve(NUMBER), 0xCB, 8, bits.word)

    cpdef flag(self, bint value):
        self._reserve(1)[0] = 0xC3 if value else 0xC2
        self._size += 1

    cpdef nothing(self):
        self._reserve(1)[0] = 0xC0
        self._size += 1

    cpdef raw(self, bytes value):
        cdef Py_ssize_t size
        if value is None:
            raise TypeError("bytes are needed")
        size = PyBytes_GET_SIZE(value)
        memcpy(self._reserve(size), PyBytes_AS_STRING(value), size)
        self._size += size

    cpdef bytes take(self):
        return PyBytes_FromStringAndSize(<const char*> self._data, self._size)

    cpdef bint put(self, object writer) except -1:
        if type(writer) is Appender:
            return (<Appender> writer).append(<const char*> self._data, self._size) == 1
        return writer.put(self.take())

    cpdef bint put_opening(self, object writer) except -1:
        if type(writer) is Appender:
            return (<Appender> writer).append_opening(<const char*> self._data, self._size) == 1
        return writer.put_opening(self.take())

    cpdef bint put_closing(self, object writer) except -1:
        if type(writer) is Appender:
            return (<Appender> writer).append_closing(<const char*> self._data, self._size) == 1
        return writer.put_closing(self.take())


cdef class Memo:
    """Two places for each object, so that few push each other out: with 1,000 in them, one look-up in 16 finds none."""

    def __cinit__(self):
        self._of = [None] * PLACES
        self._made = [None] * PLACES

    cpdef object get(self, object of):
        cdef size_t at = fp_place(<const void*> of)
        if <void*> PyList_GET_ITEM(self._of, at) == <void*> of:
            return self._made[at]
        at ^= 1
        return self._made[at] if <void*> PyList_GET_ITEM(self._of, at) == <void*> of else None

    cpdef put(self, object of, object made):
        cdef size_t at = fp_place(<const void*> of)
        if self._of[at] is not of:
            self._of[at ^ 1], self._made[at ^ 1] = self._of[at], self._made[at]
        self._of[at], self._made[at] = of, made
