"""Strict RFC 8259 scanner with UTF-8 validation, at most 128 containers deep.

Owns: validity, the facts of a stream frame, the spans of a body's decision fields. Does not own: what any field means.
Concurrency: pure functions over the caller's bytes; a Fields is immutable after construction.

A step takes the position it reads from and returns the position after what it read, or an encoded failure below zero.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "swar.h":
    Py_ssize_t fp_find_stop(const unsigned char* p, Py_ssize_t at, Py_ssize_t size) noexcept nogil

ctypedef const unsigned char* Text

cdef enum:
    MAX_DEPTH = 128
    MAX_FIELDS = 26
    MAX_NUMBERS = 16
    MAX_DIGITS = 15
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
        pos = fp_find_stop(p, pos, size)
    return fail(size, SYNTAX)


cdef inline Py_ssize_t skip_string(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """From the byte after the opening quote."""
    pos = fp_find_stop(p, pos, size)
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


class MisspeltField(ValueError):
    def __init__(self, name, position):
        super().__init__(f"{name!r} is spelt in another way at byte {position}")
        self.name = name
        self.position = position


cdef bint has_backslash(Text p, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    return memchr(p + start, 0x5C, end - start) != NULL


cdef Py_ssize_t read_message(Text p, Py_ssize_t pos, Py_ssize_t size, bint* plain) noexcept nogil:
    """One object of a dialogue, at depth 2: `plain` unless it is just a speaker and a text."""
    cdef bint more, role, content
    cdef int roles = 0, contents = 0
    cdef Py_ssize_t start = 0, end = 0, value
    pos = open_container(p, pos, size, &more)
    while more:
        value = skip_key(p, pos, size, &start, &end)
        if value < 0:
            return value
        role = is_key(p, start, end, "role", 4)
        content = is_key(p, start, end, "content", 7)
        if value < size and p[value] == 0x22:
            pos = skip_string(p, value + 1, size)
            roles += role
            contents += content
        else:
            pos = skip_value(p, value, size, 3)
            if role or content:
                plain[0] = False
        if pos < 0:
            return pos
        if is_key(p, start, end, "tool_calls", 10) or has_backslash(p, start, end):
            plain[0] = False
        pos = end_item(p, pos, size, b"}", &more)
        if pos < 0:
            return pos
    if roles != 1 or contents != 1:
        plain[0] = False
    return pos


cdef Py_ssize_t read_dialogue(Text p, Py_ssize_t pos, Py_ssize_t size, bint* plain) noexcept nogil:
    """The array of a dialogue's messages, at depth 1."""
    cdef bint more
    pos = open_container(p, pos, size, &more)
    plain[0] = more
    while more:
        pos = skip_space(p, pos, size)
        if pos < size and p[pos] == b"{":
            pos = read_message(p, pos, size, plain)
        else:
            plain[0] = False
            pos = skip_value(p, pos, size, 2)
        if pos < 0:
            return pos
        pos = end_item(p, pos, size, b"]", &more)
        if pos < 0:
            return pos
    return pos


cdef class Fields:

    def __init__(self, names, bulky=(), dialogue=None):
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
        self.index = {name: i for i, name in enumerate(self.names)}
        self.count = <int> len(self.spelt)
        self.lengths[0] = self.lengths[1] = 0
        for i in range(self.count):
            spelt = self.spelt[i]
            self.name[i] = spelt
            self.length[i] = len(spelt)
            self.lengths[len(spelt) >> 6] |= (<uint64_t> 1) << (len(spelt) & 63)
        self.bulky = 0
        for name in bulky:
            self.bulky |= (<unsigned int> 1) << <int> self.index[name]
        self.dialogue = -1 if dialogue is None else self.index[dialogue]

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
        cdef int index
        cdef unsigned int bit
        if end - start <= MAX_NAME:  # nearly always a field is spelt as it should be
            index = self.find(p + start, end - start)
            if index >= 0:
                bit = (<unsigned int> 1) << index
                if not found.seen & bit:
                    found.seen |= bit
                    found.exact |= bit
                    found.start[index] = value
                    found.end[index] = value_end
                    return
        index = self.find(folded, fold_key(p, start, end, folded))
        if index < 0:
            return
        bit = (<unsigned int> 1) << index
        if found.seen & bit and found.duplicate < 0:
            found.duplicate = index
            found.duplicate_at = start - 1
        if found.misspelt < 0 and not is_key(p, start, end, <const char*> self.name[index], self.length[index]):
            found.misspelt = index
            found.misspelt_at = start - 1
        found.seen |= bit

    cdef Py_ssize_t walk(self, Text p, Py_ssize_t pos, Py_ssize_t size, Found* found) noexcept nogil:
        """The members of the top-level object whose opening brace is at `pos`."""
        cdef bint more
        cdef int talk = self.dialogue
        cdef Py_ssize_t start = 0, end = 0, value
        pos = open_container(p, pos, size, &more)
        while more:
            value = skip_key(p, pos, size, &start, &end)
            if value < 0:
                return value
            if (talk >= 0 and value < size and p[value] == b"["
                    and is_key(p, start, end, <const char*> self.name[talk], self.length[talk])):
                pos = read_dialogue(p, value, size, &found.plain)
            else:
                pos = skip_value(p, value, size, 1)
            if pos < 0:
                return pos
            self.note(p, start, end, value, pos, found)
            pos = end_item(p, pos, size, b"}", &more)
            if pos < 0:
                return pos
        return end_text(p, pos, size)

    cpdef Members read(self, bytes body):
        cdef Members members = Members.__new__(Members)
        cdef Found* found = &members.found
        cdef Text p = body
        cdef Py_ssize_t size = len(body)
        cdef Py_ssize_t opener = skip_space(p, 0, size)
        cdef Py_ssize_t end
        cdef bint is_object = opener < size and p[opener] == b"{"
        found.seen = found.exact = 0
        found.duplicate = found.misspelt = -1
        found.plain = False
        end = self.walk(p, opener, size, found) if is_object else end_text(p, skip_value(p, opener, size, 0), size)
        if end < 0:
            raise JsonError(failed_at(end), REASONS[failed_why(end)])
        if not is_object:
            raise JsonError(opener, "not an object")
        if found.duplicate >= 0:
            raise DuplicateField(self.names[found.duplicate], found.duplicate_at)
        if found.misspelt >= 0:
            raise MisspeltField(self.names[found.misspelt], found.misspelt_at)
        members.fields = self
        members.body = body
        members.opening = opener + 1
        return members


cdef class Members:

    @property
    def plain(self):
        return self.found.plain

    cdef int index(self, str name) except -2:
        """Which field it is, -1 when the body has no such member."""
        cdef int index = self.fields.index[name]
        return index if self.found.exact >> index & 1 else -1

    def __contains__(self, str name not None):
        return self.index(name) >= 0

    cpdef tuple span(self, str name):
        cdef int index = self.index(name)
        if index < 0:
            return None
        return self.found.start[index], self.found.end[index]

    cpdef int first(self, str name) except -2:
        cdef int index = self.index(name)
        return -1 if index < 0 else <unsigned char> PyBytes_AS_STRING(self.body)[self.found.start[index]]

    cpdef bytes text(self, str name):
        cdef int index = self.index(name)
        if index < 0:
            return None
        return self.body[self.found.start[index]:self.found.end[index]]

    def spans(self):
        cdef dict spans = {}
        for i in range(self.fields.count):
            if self.found.exact >> i & 1:
                spans[self.fields.names[i]] = (self.found.start[i], self.found.end[i])
        return spans

    cpdef bytes small(self):
        cdef Fields fields = self.fields
        cdef unsigned int wanted = self.found.exact & ~fields.bulky
        cdef Py_ssize_t size = 2, length
        cdef int i
        cdef bytes made
        cdef char* out
        for i in range(fields.count):
            if wanted >> i & 1:
                size += fields.length[i] + 4 + self.found.end[i] - self.found.start[i]
        if size > 2:
            size -= 1  # one comma less than members
        made = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(made)
        out[0] = b"{"
        out[size - 1] = b"}"
        out += 1
        for i in range(fields.count):
            if not wanted >> i & 1:
                continue
            length = fields.length[i]
            out[0] = b'"'
            memcpy(out + 1, fields.name[i], length)
            out[length + 1] = b'"'
            out[length + 2] = b":"
            out += length + 3
            length = self.found.end[i] - self.found.start[i]
            memcpy(out, PyBytes_AS_STRING(self.body) + self.found.start[i], length)
            out += length
            wanted &= ~(<unsigned int> 1 << i)
            if wanted:
                out[0] = b","
                out += 1
        return made


cdef class Numbers:

    def __init__(self, paths, foreign="", barred=()):
        names = [path.partition(".") for path in (*paths, *barred)]
        if len(names) > MAX_NUMBERS:
            raise ValueError(f"at most {MAX_NUMBERS} paths")
        self.foreign = foreign.encode()
        shared = {}  # one object for each name: a member's parent is then found by its address
        self.outer = tuple([shared.setdefault(outer, outer.encode()) for outer, _, _ in names])
        self.inner = tuple([inner.encode() for _, _, inner in names])
        self.count = <int> len(names)
        self.told = <int> len(paths)

    cdef Py_ssize_t walk(self, Text p, Py_ssize_t pos, Py_ssize_t size, bytes parent, long long* values) except -2:
        """The members of the object at `pos`: top level (no parent) or one level below. Fails on what it cannot vouch
        for, valid or not."""
        cdef bint more, named
        cdef int i
        cdef Py_ssize_t start = 0, end = 0, value
        cdef bytes name, below
        pos = open_container(p, pos, size, &more)
        while more:
            value = skip_key(p, pos, size, &start, &end)
            if value < 0 or value >= size or has_backslash(p, start, end):
                return -1
            if len(self.foreign) and end - start >= len(self.foreign) and memcmp(
                    p + start, PyBytes_AS_STRING(self.foreign), len(self.foreign)) == 0:
                return -1
            named = False
            pos = -1
            for i in range(self.count):
                name = <bytes> self.outer[i]
                below = <bytes> self.inner[i]
                if parent is not None:
                    if name is not parent:
                        continue
                    name, below = below, b""
                if not is_key(p, start, end, PyBytes_AS_STRING(name), len(name)):
                    continue
                named = True
                if is_null(p, value):
                    break
                if len(below):
                    if p[value] != b"{":
                        return -1
                    pos = self.walk(p, value, size, name, values)
                    if pos < 0:
                        return -1
                else:
                    if values[i] >= 0:  # twice
                        return -1
                    pos = read_natural(p, value, size, &values[i])
                    if pos < 0 or i >= self.told:
                        return -1
                break
            if not named or is_null(p, value):
                pos = skip_value(p, value, size, 1 if parent is None else 2)
            if pos < 0:
                return -1
            pos = end_item(p, pos, size, b"}", &more)
            if pos < 0:
                return -1
        return pos

    cpdef tuple read(self, bytes text):
        cdef long long values[MAX_NUMBERS]
        cdef Text p = text
        cdef Py_ssize_t size = len(text)
        cdef int i
        for i in range(self.count):
            values[i] = -1
        if size == 0 or p[0] != b"{" or self.walk(p, 0, size, None, values) != size:
            return None
        return tuple([values[i] if values[i] >= 0 else None for i in range(self.told)])


cdef Py_ssize_t read_natural(Text p, Py_ssize_t pos, Py_ssize_t size, long long* value) noexcept nogil:
    """A whole number as it is mostly written: digits alone, few enough for any machine."""
    cdef Py_ssize_t begun = pos
    value[0] = 0
    while pos < size and 0x30 <= p[pos] <= 0x39:
        value[0] = value[0] * 10 + (p[pos] - 0x30)
        pos += 1
        if pos - begun > MAX_DIGITS:
            return -1
    if pos == begun or (p[begun] == 0x30 and pos - begun > 1):
        return -1
    if pos < size and (p[pos] == b"." or (p[pos] | 0x20) == b"e"):
        return -1
    return pos


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


cpdef tuple frame_facts(bytes data):
    cdef FrameFacts facts
    cdef Py_ssize_t pos
    if data is None:
        raise TypeError("an answer is bytes, not None")
    pos = scan_text(data, len(data), &facts)
    if pos < 0:
        raise JsonError(failed_at(pos), REASONS[failed_why(pos)])
    kind = data[facts.type_start:facts.type_end].decode() if facts.type_start >= 0 else None
    usage = data[facts.usage_start:facts.usage_end] if facts.usage_start >= 0 else None
    return facts.flags, kind, usage
