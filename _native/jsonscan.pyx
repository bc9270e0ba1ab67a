"""Strict RFC 8259 scanner with UTF-8 validation, at most 128 containers deep.

Owns: validity, the facts of a stream frame, the spans of a body's decision fields. Does not own: what any field means.
Concurrency: pure functions over the caller's bytes; a Fields is immutable after construction.

A step takes the position it reads from and returns the position after what it read, or an encoded failure below zero.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #define FP_EVERY(byte) (UINT64_C(0x0101010101010101) * (byte))
    #define FP_ZERO_BYTES(x) (((x) - FP_EVERY(1)) & ~(x))

    /* Eight bytes, the first in memory as the lowest, on any machine and at any alignment. */
    static inline uint64_t fp_load(const unsigned char *p) {
        uint64_t x;
        memcpy(&x, p, 8);
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
    #endif
        return x;
    }

    /* Nonzero when a byte is a quote, a backslash, a control character or not ASCII. Borrows spoil only bytes above
       a true hit, so the lowest set bit is exact. */
    static inline uint64_t fp_string_stops(uint64_t x) {
        uint64_t quote = x ^ FP_EVERY(0x22), backslash = x ^ FP_EVERY(0x5c);
        uint64_t control = (x - FP_EVERY(0x20)) & ~x;
        return (FP_ZERO_BYTES(quote) | FP_ZERO_BYTES(backslash) | control | x) & FP_EVERY(0x80);
    }

    static inline int fp_first(uint64_t stops) { return __builtin_ctzll(stops) >> 3; }
    """
    uint64_t fp_load(const unsigned char* p) noexcept nogil
    uint64_t fp_string_stops(uint64_t x) noexcept nogil
    int fp_first(uint64_t stops) noexcept nogil

ctypedef const unsigned char* Text

cdef enum:
    MAX_DEPTH = 128
    MAX_FIELDS = 32
    MAX_NAME = 64
    SYNTAX = 0
    UTF8 = 1
    DEPTH = 2

cdef tuple REASONS = ("invalid JSON", "invalid UTF-8", f"deeper than {MAX_DEPTH}")


# A failure packs its offset and reason into one negative number, so that no step needs a pointer to report it.
cdef inline Py_ssize_t fail(Py_ssize_t at, int reason) noexcept nogil:
    return -(at * 4 + reason + 1)


cdef inline Py_ssize_t failed_at(Py_ssize_t failure) noexcept nogil:
    return (-failure - 1) >> 2


cdef inline int failed_why(Py_ssize_t failure) noexcept nogil:
    return <int> ((-failure - 1) & 3)


cdef inline Py_ssize_t skip_space(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    while pos < size and p[pos] <= 0x20 and (p[pos] == 0x20 or p[pos] == 0x0A or p[pos] == 0x0D or p[pos] == 0x09):
        pos += 1
    return pos


cdef inline bint is_tail(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    return pos < size and (p[pos] & 0xC0) == 0x80


cdef inline int utf8_length(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """Length of the well-formed sequence (Unicode, table 3-7) at `pos`, where a byte is not ASCII; 0 if ill-formed."""
    cdef unsigned char first = p[pos]
    cdef unsigned char second
    if first < 0xC2 or first > 0xF4 or not is_tail(p, pos + 1, size):
        return 0
    if first < 0xE0:
        return 2
    second = p[pos + 1]
    if not is_tail(p, pos + 2, size):
        return 0
    if first < 0xF0:
        return 0 if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F) else 3
    if not is_tail(p, pos + 3, size):
        return 0
    return 0 if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F) else 4


cdef inline int hex_value(unsigned char c) noexcept nogil:
    if 0x30 <= c <= 0x39:
        return c - 0x30
    c |= 0x20
    return c - 0x57 if 0x61 <= c <= 0x66 else -1


cdef inline Py_ssize_t skip_escape(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """From the byte after the backslash."""
    cdef unsigned char c
    cdef Py_ssize_t end
    if pos >= size:
        return fail(size, SYNTAX)
    c = p[pos]
    pos += 1
    if c == b"u":
        end = pos + 4
        while pos < end:
            if pos >= size or hex_value(p[pos]) < 0:
                return fail(pos, SYNTAX)
            pos += 1
        return pos
    if c == b"n" or c == b'"' or c == b"\\" or c == b"/" or c == b"b" or c == b"f" or c == b"r" or c == b"t":
        return pos
    return fail(pos - 1, SYNTAX)


cdef inline Py_ssize_t find_stop(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """The next byte of a string that is not plain ASCII text, or `size`."""
    cdef uint64_t stops
    while size - pos >= 8:
        stops = fp_string_stops(fp_load(p + pos))
        if stops:
            return pos + fp_first(stops)
        pos += 8
    while pos < size and 0x20 <= p[pos] < 0x80 and p[pos] != 0x22 and p[pos] != 0x5C:
        pos += 1
    return pos


cdef Py_ssize_t skip_hard_string(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """The rest of a string from its first byte that is neither plain ASCII nor the closing quote."""
    cdef int length
    while pos < size:
        if p[pos] == 0x22:
            return pos + 1
        if p[pos] >= 0x80:
            length = utf8_length(p, pos, size)
            if length == 0:
                return fail(pos, UTF8)
            pos += length
            if pos < size and p[pos] >= 0x80:
                continue
        elif p[pos] == 0x5C:
            pos = skip_escape(p, pos + 1, size)
            if pos < 0:
                return pos
        else:
            return fail(pos, SYNTAX)
        pos = find_stop(p, pos, size)
    return fail(size, SYNTAX)


cdef inline Py_ssize_t skip_string(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """From the byte after the opening quote."""
    pos = find_stop(p, pos, size)
    if pos < size and p[pos] == 0x22:
        return pos + 1
    return skip_hard_string(p, pos, size)


cdef inline Py_ssize_t skip_digits(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """At least one digit."""
    if pos >= size or not 0x30 <= p[pos] <= 0x39:
        return fail(pos, SYNTAX)
    pos += 1
    while pos < size and 0x30 <= p[pos] <= 0x39:
        pos += 1
    return pos


cdef inline Py_ssize_t skip_number(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    if p[pos] == b"-":
        pos += 1
    if pos < size and p[pos] == b"0":
        pos += 1
    else:
        pos = skip_digits(p, pos, size)
    if pos >= 0 and pos < size and p[pos] == b".":
        pos = skip_digits(p, pos + 1, size)
    if pos >= 0 and pos < size and (p[pos] | 0x20) == b"e":
        pos += 1
        if pos < size and (p[pos] == b"+" or p[pos] == b"-"):
            pos += 1
        pos = skip_digits(p, pos, size)
    return pos


cdef inline Py_ssize_t skip_word(Text p, Py_ssize_t pos, Py_ssize_t size, const char* word) noexcept nogil:
    """The letters of `word`, a nul-terminated literal."""
    while word[0] != 0:
        if pos >= size or p[pos] != <unsigned char> word[0]:
            return fail(pos, SYNTAX)
        pos += 1
        word += 1
    return pos


cdef inline Py_ssize_t skip_scalar(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """A string, number, true, false or null; `pos` is below `size`."""
    cdef unsigned char c = p[pos]
    if c == 0x22:
        return skip_string(p, pos + 1, size)
    if c == b"n":
        return skip_word(p, pos, size, "null")
    if c == b"t":
        return skip_word(p, pos, size, "true")
    if c == b"f":
        return skip_word(p, pos, size, "false")
    if c == b"-" or 0x30 <= c <= 0x39:
        return skip_number(p, pos, size)
    return fail(pos, SYNTAX)


cdef inline Py_ssize_t skip_colon(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """Space, a colon, space: up to the first byte of a member's value."""
    pos = skip_space(p, pos, size)
    if pos >= size or p[pos] != b":":
        return fail(pos, SYNTAX)
    return skip_space(p, pos + 1, size)


cdef inline Py_ssize_t skip_key(Text p, Py_ssize_t pos, Py_ssize_t size, Py_ssize_t* start,
                                Py_ssize_t* end) noexcept nogil:
    """A member up to the first byte of its value; the key's content, as it is spelt, is [start, end)."""
    pos = skip_space(p, pos, size)
    if pos >= size or p[pos] != 0x22:
        return fail(pos, SYNTAX)
    start[0] = pos + 1
    pos = skip_string(p, pos + 1, size)
    if pos < 0:
        return pos
    end[0] = pos - 1
    return skip_colon(p, pos, size)


cdef Py_ssize_t skip_value(Text p, Py_ssize_t pos, Py_ssize_t size, int depth) noexcept nogil:
    """One whole value inside `depth` open containers. The closers it waits for are a stack in this frame."""
    cdef unsigned char closers[MAX_DEPTH]
    cdef int base = depth
    cdef Py_ssize_t start, end
    cdef unsigned char c, closer
    while True:
        pos = skip_space(p, pos, size)
        if pos >= size:
            return fail(size, SYNTAX)
        c = p[pos]
        if c == b"{" or c == b"[":
            if depth == MAX_DEPTH:
                return fail(pos, DEPTH)
            closer = c + 2  # } and ] each follow their opener by two
            pos = skip_space(p, pos + 1, size)
            if pos >= size or p[pos] != closer:
                closers[depth] = closer
                depth += 1
                if c == b"{":
                    pos = skip_key(p, pos, size, &start, &end)
                    if pos < 0:
                        return pos
                continue
            pos += 1
        else:
            pos = skip_scalar(p, pos, size)
            if pos < 0:
                return pos
        while True:
            if depth == base:
                return pos
            pos = skip_space(p, pos, size)
            if pos >= size:
                return fail(size, SYNTAX)
            c = p[pos]
            closer = closers[depth - 1]
            if c == b",":
                pos += 1
                if closer == b"}":
                    pos = skip_key(p, pos, size, &start, &end)
                    if pos < 0:
                        return pos
                break
            if c != closer:
                return fail(pos, SYNTAX)
            depth -= 1
            pos += 1


cdef inline Py_ssize_t open_container(Text p, Py_ssize_t pos, Py_ssize_t size, bint* more) noexcept nogil:
    """Past an opener at `pos`, and past the closer when nothing is between them (`more` is then false)."""
    cdef unsigned char closer = p[pos] + 2
    pos = skip_space(p, pos + 1, size)
    more[0] = pos >= size or p[pos] != closer
    return pos if more[0] else pos + 1


cdef inline Py_ssize_t end_item(Text p, Py_ssize_t pos, Py_ssize_t size, unsigned char closer,
                                bint* more) noexcept nogil:
    """After one item: past the comma (`more`) or past `closer`."""
    pos = skip_space(p, pos, size)
    if pos >= size or (p[pos] != b"," and p[pos] != closer):
        return fail(pos, SYNTAX)
    more[0] = p[pos] == b","
    return pos + 1


cdef inline Py_ssize_t end_text(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """Only space up to the end."""
    if pos < 0:
        return pos
    pos = skip_space(p, pos, size)
    return pos if pos == size else fail(pos, SYNTAX)


cdef inline bint is_key(Text p, Py_ssize_t start, Py_ssize_t end, const char* name, Py_ssize_t length) noexcept nogil:
    return end - start == length and memcmp(p + start, name, length) == 0


cdef inline bint is_null(Text p, Py_ssize_t pos) noexcept nogil:
    return p[pos] == b"n"


cdef Py_ssize_t read_choice(Text p, Py_ssize_t pos, Py_ssize_t size, FrameFacts* facts) noexcept nogil:
    """One object of "choices", at depth 2: has it a finish reason?"""
    cdef bint more
    cdef Py_ssize_t start = 0, end = 0, value
    pos = open_container(p, pos, size, &more)
    while more:
        value = skip_key(p, pos, size, &start, &end)
        if value < 0:
            return value
        pos = skip_value(p, value, size, 3)
        if pos < 0:
            return pos
        if is_key(p, start, end, "finish_reason", 13) and not is_null(p, value):
            facts.flags |= FRAME_FINISHED
        pos = end_item(p, pos, size, b"}", &more)
        if pos < 0:
            return pos
    return pos


cdef Py_ssize_t read_choices(Text p, Py_ssize_t pos, Py_ssize_t size, FrameFacts* facts) noexcept nogil:
    """The top-level array "choices", at depth 1."""
    cdef bint more
    pos = open_container(p, pos, size, &more)
    facts.flags |= FRAME_CONTENT if more else FRAME_NO_CHOICES
    while more:
        pos = skip_space(p, pos, size)
        if pos < size and p[pos] == b"{":
            pos = read_choice(p, pos, size, facts)
        else:
            pos = skip_value(p, pos, size, 2)
        if pos < 0:
            return pos
        pos = end_item(p, pos, size, b"]", &more)
        if pos < 0:
            return pos
    return pos


cdef inline void note_member(Text p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t value, Py_ssize_t value_end,
                             FrameFacts* facts) noexcept nogil:
    if is_key(p, start, end, "usage", 5) and not is_null(p, value):
        facts.flags |= FRAME_USAGE
        facts.usage_start = value
        facts.usage_end = value_end
    elif is_key(p, start, end, "error", 5) and not is_null(p, value) and p[value] != b"f":
        facts.flags |= FRAME_ERROR
    elif is_key(p, start, end, "type", 4) and p[value] == 0x22:
        facts.type_start = value + 1
        facts.type_end = value_end - 1


cdef Py_ssize_t read_frame(Text p, Py_ssize_t pos, Py_ssize_t size, FrameFacts* facts) noexcept nogil:
    """The top-level object of a frame."""
    cdef bint more
    cdef Py_ssize_t start = 0, end = 0, value
    pos = open_container(p, pos, size, &more)
    while more:
        value = skip_key(p, pos, size, &start, &end)
        if value < 0:
            return value
        if value < size and p[value] == b"[" and is_key(p, start, end, "choices", 7):
            pos = read_choices(p, value, size, facts)
        else:
            pos = skip_value(p, value, size, 1)
        if pos < 0:
            return pos
        note_member(p, start, end, value, pos, facts)
        pos = end_item(p, pos, size, b"}", &more)
        if pos < 0:
            return pos
    return pos


cdef Py_ssize_t scan_text(Text p, Py_ssize_t size, FrameFacts* facts) noexcept nogil:
    cdef Py_ssize_t pos = skip_space(p, 0, size)
    facts.flags = 0
    facts.type_start = -1
    facts.type_end = -1
    facts.usage_start = -1
    facts.usage_end = -1
    if pos < size and p[pos] == b"{":
        return end_text(p, read_frame(p, pos, size, facts), size)
    return end_text(p, skip_value(p, pos, size, 0), size)


cdef Py_ssize_t scan_frame(const unsigned char* p, Py_ssize_t size, FrameFacts* facts) noexcept nogil:
    cdef Py_ssize_t pos = scan_text(p, size, facts)
    return -1 if pos >= 0 else failed_at(pos)


cdef Py_ssize_t fold_character(Text p, Py_ssize_t pos, unsigned char* out) noexcept nogil:
    """One character of a valid string folded to lower-case ASCII; `out` is 0 when it folds to nothing in ASCII."""
    cdef unsigned int point
    cdef int i
    if p[pos] != 0x5C:
        if p[pos] >= 0x80:  # only the two that case folding maps to ASCII: long s and the Kelvin sign
            out[0] = b"s" if p[pos] == 0xC5 and p[pos + 1] == 0xBF else 0
            if p[pos] == 0xE2 and p[pos + 1] == 0x84 and p[pos + 2] == 0xAA:
                out[0] = b"k"
            return pos + (2 if p[pos] < 0xE0 else 3 if p[pos] < 0xF0 else 4)
        point = p[pos]
        pos += 1
    elif p[pos + 1] == b"u":
        point = 0
        for i in range(2, 6):
            point = point * 16 + <unsigned int> hex_value(p[pos + i])
        pos += 6
    else:
        point = p[pos + 1]
        if point != b"/":  # the other short escapes are control characters, the quote and the backslash
            point = 0
        pos += 2
    if 0x41 <= point <= 0x5A:
        point |= 0x20
    elif point == 0x17F:
        point = b"s"
    elif point == 0x212A:
        point = b"k"
    out[0] = <unsigned char> point if point < 0x80 else 0
    return pos


cdef int fold_key(Text p, Py_ssize_t start, Py_ssize_t end, unsigned char* folded) noexcept nogil:
    """Length of the key folded to lower-case ASCII, or -1 when it cannot be the name of a field in any spelling."""
    cdef int length = 0
    while start < end:
        if length == MAX_NAME:
            return -1
        start = fold_character(p, start, folded + length)
        if folded[length] == 0:
            return -1
        length += 1
    return length


cdef struct Found:
    unsigned int seen  # bit i: field i occurred in some spelling
    unsigned int exact  # bit i: it occurred in its own spelling, with its value at [start, end)
    int duplicate  # the first field that occurred twice, -1 when none
    Py_ssize_t duplicate_at
    Py_ssize_t start[MAX_FIELDS]
    Py_ssize_t end[MAX_FIELDS]


class JsonError(ValueError):
    def __init__(self, position, reason):
        super().__init__(f"{reason} at byte {position}")
        self.position = position
        self.reason = reason


class DuplicateField(ValueError):
    def __init__(self, name, position):
        super().__init__(f"{name!r} is given twice, again at byte {position}")
        self.name = name
        self.position = position


cdef class Fields:
    cdef tuple names
    cdef tuple spelt  # keeps the bytes alive that `name` points into
    cdef const unsigned char* name[MAX_FIELDS]
    cdef Py_ssize_t length[MAX_FIELDS]
    cdef int count
    cdef uint64_t lengths[2]  # bit n: some name is n bytes long

    def __init__(self, names):
        cdef bytes spelt
        self.names = tuple(names)
        if len(self.names) > MAX_FIELDS or len(set(self.names)) != len(self.names):
            raise ValueError(f"at most {MAX_FIELDS} names, each once")
        for name in self.names:
            if not 0 < len(name) <= MAX_NAME or not name.isascii() or not name.isprintable() or name != name.lower():
                raise ValueError(f"not a lower-case ASCII name of at most {MAX_NAME} bytes: {name!r}")
            if '"' in name or "\\" in name:
                raise ValueError(f"a name needs no escapes: {name!r}")
        self.spelt = tuple([name.encode() for name in self.names])
        self.count = <int> len(self.spelt)
        self.lengths[0] = self.lengths[1] = 0
        for i in range(self.count):
            spelt = self.spelt[i]
            self.name[i] = spelt
            self.length[i] = len(spelt)
            self.lengths[len(spelt) >> 6] |= (<uint64_t> 1) << (len(spelt) & 63)

    cdef int find(self, const unsigned char* key, Py_ssize_t length) noexcept nogil:
        """Index of the field with this folded key, or -1."""
        cdef int i
        if length < 0 or not (self.lengths[length >> 6] >> (length & 63)) & 1:
            return -1
        for i in range(self.count):
            if self.length[i] == length and memcmp(self.name[i], key, length) == 0:
                return i
        return -1

    cdef void note(self, Text p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t value, Py_ssize_t value_end,
                   Found* found) noexcept nogil:
        cdef unsigned char folded[MAX_NAME]
        cdef int index = self.find(folded, fold_key(p, start, end, folded))
        cdef unsigned int bit
        if index < 0:
            return
        bit = (<unsigned int> 1) << index
        if found.seen & bit and found.duplicate < 0:
            found.duplicate = index
            found.duplicate_at = start - 1
        found.seen |= bit
        if is_key(p, start, end, <const char*> self.name[index], self.length[index]):
            found.exact |= bit
            found.start[index] = value
            found.end[index] = value_end

    cdef Py_ssize_t walk(self, Text p, Py_ssize_t pos, Py_ssize_t size, Found* found) noexcept nogil:
        """The members of the top-level object whose opening brace is at `pos`."""
        cdef bint more
        cdef Py_ssize_t start = 0, end = 0, value
        pos = open_container(p, pos, size, &more)
        while more:
            value = skip_key(p, pos, size, &start, &end)
            if value < 0:
                return value
            pos = skip_value(p, value, size, 1)
            if pos < 0:
                return pos
            self.note(p, start, end, value, pos, found)
            pos = end_item(p, pos, size, b"}", &more)
            if pos < 0:
                return pos
        return end_text(p, pos, size)

    def spans(self, bytes body not None):
        cdef Found found
        cdef Text p = body
        cdef Py_ssize_t size = len(body)
        cdef Py_ssize_t opener = skip_space(p, 0, size)
        cdef bint is_object = opener < size and p[opener] == b"{"
        found.seen = found.exact = 0
        found.duplicate = -1
        end = self.walk(p, opener, size, &found) if is_object else end_text(p, skip_value(p, opener, size, 0), size)
        if end < 0:
            raise JsonError(failed_at(end), REASONS[failed_why(end)])
        if not is_object:
            raise JsonError(opener, "not an object")
        if found.duplicate >= 0:
            raise DuplicateField(self.names[found.duplicate], found.duplicate_at)
        return {self.names[i]: (found.start[i], found.end[i]) for i in range(self.count) if found.exact >> i & 1}

    def insertion(self, bytes body not None):
        cdef bint more
        cdef Text p = body
        cdef Py_ssize_t size = len(body)
        cdef Py_ssize_t opener = skip_space(p, 0, size)
        if opener >= size or p[opener] != b"{":
            raise JsonError(opener, "not an object")
        open_container(p, opener, size, &more)
        return opener + 1, not more


def first_byte(value):
    cdef Py_buffer view
    cdef int first
    PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    first = (<const unsigned char*> view.buf)[0] if view.len else -1
    PyBuffer_Release(&view)
    return first


def scan(bytes data not None):
    cdef FrameFacts facts
    return scan_frame(data, len(data), &facts)


def frame_facts(bytes data not None):
    cdef FrameFacts facts
    cdef Py_ssize_t pos = scan_text(data, len(data), &facts)
    if pos < 0:
        raise JsonError(failed_at(pos), REASONS[failed_why(pos)])
    kind = data[facts.type_start:facts.type_end].decode() if facts.type_start >= 0 else None
    usage = data[facts.usage_start:facts.usage_end] if facts.usage_start >= 0 else None
    return facts.flags, kind, usage
