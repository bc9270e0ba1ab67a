"""HTTP/1.1 parsing for both sides. See http1.pyi for the contract."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from cpython.list cimport PyList_GET_ITEM
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy


cdef enum:
    MAX_HEAD = 65536
    MAX_FIELDS = 128
    MAX_CHUNK_LINE = 4096
    MAX_EXTENSIONS = 16384
    MAX_INTERIM = 16
    NAME_SLOTS = 64
    MAX_NAMES = 64
    MAX_NAME = 40
    LENGTH_FIELD = 38  # the longest: 18 bytes around 20 digits
    MOST_REMEMBERED = 8192  # bytes of a head that the next one is compared with

# RFC 9110 token characters, as a table: 1 = allowed in a field name.
cdef unsigned char TOKEN[256]
for _c in range(256):
    TOKEN[_c] = 1 if chr(_c) in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" else 0


cdef unsigned char CONTROL[256]
for _c in range(256):
    CONTROL[_c] = (_c < 32 and _c != 9) or _c == 127


class ProtocolError(ValueError):
    """The peer does not speak HTTP/1.1 as RFC 9112 says; the connection must not be used again."""


class HeadTooLarge(ProtocolError):
    """More than 64 KiB of head, or more than 128 fields."""


cdef class FieldNames:

    def __cinit__(self, names):
        cdef bytes name
        cdef int i
        for i in range(NAME_SLOTS):
            self.first[i] = -1
        asked = tuple(names)
        if len(asked) > MAX_NAMES:
            raise ValueError(f"at most {MAX_NAMES} names")
        self.names = (*FRAMING, *[name for name in asked if name not in FRAMING])
        for i, name in enumerate(self.names):
            if not 0 < len(name) <= MAX_NAME or name != name.lower() or not _is_token(name):
                raise ValueError(f"not a lower-case name of at most {MAX_NAME} bytes: {name!r}")
            self.lengths |= (<uint64_t> 1) << len(name)
            slot = _name_slot(<const unsigned char*> name, PyBytes_GET_SIZE(name))
            self.next[i] = self.first[slot]
            self.first[slot] = i

    cdef bytes find(self, const unsigned char* name, Py_ssize_t size):
        """The name object that is spelt like this, in any letter case; None when it is not one of ours."""
        cdef PyObject* known
        cdef int i
        if not 0 < size <= MAX_NAME or not self.lengths >> size & 1:
            return None
        i = self.first[_name_slot(name, size)]
        while i >= 0:
            known = PyTuple_GET_ITEM(self.names, i)
            if PyBytes_GET_SIZE(<object> known) == size and fp_is_spelt(
                name, <const unsigned char*> PyBytes_AS_STRING(<object> known), size
            ):
                return <bytes> known
            i = self.next[i]
        return None


cdef inline int _name_slot(const unsigned char* name, Py_ssize_t size) noexcept nogil:
    # Letters in either case have the same slot.
    return (size * 5 + (name[0] | 32) * 3 + (name[size - 1] | 32)) & (NAME_SLOTS - 1)


cdef bint _is_token(bytes name):
    """Whether a field may be called so: a name that a set knows is not looked at again."""
    cdef unsigned char c
    for c in name:
        if not TOKEN[c]:
            return False
    return True


#: What HTTP itself means by them; looked for in every message.
cdef tuple FRAMING = (b"content-length", b"transfer-encoding", b"connection", b"host", b"expect")
cdef FieldNames FRAMING_ONLY = FieldNames(())


cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>

    /* Whether some byte is a control character other than a tab. Eight bytes at a time: below 32 or 127. A tab or a
       byte above 127 sends that word to the table. */
    static inline int fp_suspicious(const unsigned char *p) {
        const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
        uint64_t x, del;
        memcpy(&x, p, 8);
        del = x ^ (ones * 127);
        return (((x - ones * 32) | (del - ones) | x) & tops) != 0;
    }

    /* Whether all eight bytes are letters, digits or dashes, of which nearly all names of fields are made. */
    static inline int fp_usual(const unsigned char *p) {
        const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
        uint64_t x, low, small, letter, digit, dash;
        memcpy(&x, p, 8);
        low = x & ~tops;
        small = low | ones * 32;
        letter = (small + ones * (128 - 'a')) & ~(small + ones * (127 - 'z'));
        digit = (low + ones * (128 - '0')) & ~(low + ones * (127 - '9'));
        dash = ~((low ^ ones * '-') + ~tops);
        return ((letter | digit | dash) & ~x & tops) == tops;
    }

    /* Capital ASCII letters as small ones, the rest as it is. */
    static inline uint64_t fp_lower_8(uint64_t x) {
        const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
        uint64_t low = x & ~tops, from_a = low + ones * (128 - 'A'), past_z = low + ones * (127 - 'Z');
        return x | ((from_a & ~past_z & ~x & tops) >> 2);
    }

    /* The same of a text. One of eight bytes or more ends in a word that overlaps the one before. */
    static inline void fp_lower(unsigned char *out, const unsigned char *p, ptrdiff_t size) {
        ptrdiff_t at = 0;
        uint64_t x;
        if (size < 8) {
            for (; at < size; at++) out[at] = p[at] >= 'A' && p[at] <= 'Z' ? p[at] | 32 : p[at];
            return;
        }
        for (; at < size; at += 8) {
            if (at > size - 8) at = size - 8;
            memcpy(&x, p + at, 8);
            x = fp_lower_8(x);
            memcpy(out + at, &x, 8);
        }
    }

    /* Whether a text is `known` (in small letters) in any letter case. */
    static inline int fp_is_spelt(const unsigned char *p, const unsigned char *known, ptrdiff_t size) {
        ptrdiff_t at = 0;
        uint64_t x, y;
        if (size < 8) {
            for (; at < size; at++) if ((p[at] >= 'A' && p[at] <= 'Z' ? p[at] | 32 : p[at]) != known[at]) return 0;
            return 1;
        }
        for (; at < size; at += 8) {
            if (at > size - 8) at = size - 8;
            memcpy(&x, p + at, 8);
            memcpy(&y, known + at, 8);
            if (fp_lower_8(x) != y) return 0;
        }
        return 1;
    }
    """
    int fp_suspicious(const unsigned char* p) noexcept nogil
    int fp_usual(const unsigned char* p) noexcept nogil
    int fp_is_spelt(const unsigned char* p, const unsigned char* known, Py_ssize_t size) noexcept nogil
    void fp_lower(unsigned char* out, const unsigned char* p, Py_ssize_t size) noexcept nogil


cdef bint _has_control(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i = 0, stop
    if size >= 8:
        while i < size:
            i = min(i, size - 8)  # the last eight overlap those before
            if fp_suspicious(p + i):
                for stop in range(i, i + 8):
                    if CONTROL[p[stop]]:
                        return True
            i += 8
        return False
    while i < size:
        if CONTROL[p[i]]:
            return True
        i += 1
    return False


cdef inline bint _is_name(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = 0
    if size >= 8:
        while fp_usual(p + at):
            if at == size - 8:
                return True
            at = min(at + 8, size - 8)  # the last eight overlap those before
    while at < size:
        if not TOKEN[p[at]]:
            return False
        at += 1
    return size > 0


cdef int _check_trailer(const unsigned char* p, Py_ssize_t size) except -1:
    """A trailer is dropped, but must be a field: what another reader takes for a request must not pass as one."""
    cdef Py_ssize_t i = 0
    while i < size and TOKEN[p[i]]:
        i += 1
    if i == 0 or i == size or p[i] != 58:
        raise ProtocolError("malformed trailer")
    if _has_control(p + i, size - i):
        raise ProtocolError("control character in a trailer")
    return 0


cdef bytes _lowered(const unsigned char* p, Py_ssize_t size):
    cdef bytes name = PyBytes_FromStringAndSize(NULL, size)
    fp_lower(<unsigned char*> PyBytes_AS_STRING(name), p, size)
    return name


cdef bytes KEEP_ALIVE = b"keep-alive"


cdef long long _decimal(bytes value) except -1:
    """A Content-Length: 1 to 18 digits and nothing else."""
    cdef const unsigned char* p = <const unsigned char*> PyBytes_AS_STRING(value)
    cdef Py_ssize_t i, size = PyBytes_GET_SIZE(value)
    cdef long long number = 0
    if not 0 < size <= 18:
        raise ProtocolError("bad or repeated Content-Length")
    for i in range(size):
        if not _is_digit(p[i]):
            raise ProtocolError("bad or repeated Content-Length")
        number = number * 10 + (p[i] - 48)
    return number


cdef inline bint _is_digit(unsigned char c) noexcept nogil:
    return 48 <= c <= 57


cpdef bytes length_field(long long size):
    cdef char[LENGTH_FIELD] line
    return PyBytes_FromStringAndSize(line, _write_length(line, size))


cpdef bytes write_request(bytes fixed, bytes fields, long long length, bytes body):
    cdef char[LENGTH_FIELD] line
    cdef Py_ssize_t count = 0, rest = PyBytes_GET_SIZE(body) if body is not None else 0
    cdef bytes whole
    cdef char* out
    if fixed is None or fields is None:
        raise TypeError("a head is bytes, not None")
    if length >= 0:
        count = _write_length(line, length)
    whole = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(fixed) + PyBytes_GET_SIZE(fields) + count + 2 + rest)
    out = put(put(PyBytes_AS_STRING(whole), fixed), fields)
    memcpy(out, line, count)
    memcpy(out + count, b"\r\n", 2)
    if rest:
        put(out + count + 2, body)
    return whole


cpdef bytes write_fields(bytes name, bytes value, dict fields, tuple names):
    cdef PyObject* found[MAX_NAMES]
    cdef PyObject* key = NULL
    cdef PyObject* given = NULL
    cdef Py_ssize_t i, at = 0, count, size
    cdef bytes whole
    cdef char* out
    if name is None or value is None or fields is None or names is None:
        raise TypeError("a name, a value, fields and names are needed")
    count = len(names)
    if count > MAX_NAMES:
        raise ValueError(f"at most {MAX_NAMES} names")
    for i in range(count):
        if not PyBytes_Check(<object> PyTuple_GET_ITEM(names, i)):
            raise TypeError("a field is bytes")
        found[i] = NULL
    # Few fields and few names: comparing lengths is a fifth of the instructions of looking each name up.
    while PyDict_Next(fields, &at, &key, &given):
        if not PyBytes_Check(<object> key):
            continue
        for i in range(count):
            if is_same(key, PyTuple_GET_ITEM(names, i)):
                if not PyBytes_Check(<object> given):
                    raise TypeError("a field is bytes")
                found[i] = given
    size = PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 4
    for i in range(count):
        if found[i] != NULL:
            size += PyBytes_GET_SIZE(<object> PyTuple_GET_ITEM(names, i)) + PyBytes_GET_SIZE(<object> found[i]) + 4
    whole = PyBytes_FromStringAndSize(NULL, size)
    out = put_field(PyBytes_AS_STRING(whole), name, value)
    for i in range(count):
        if found[i] != NULL:
            out = put_field(out, <bytes> PyTuple_GET_ITEM(names, i), <bytes> found[i])
    return whole


cdef inline bint is_same(PyObject* one, PyObject* other) noexcept:
    """Whether two bytes are equal."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(<object> one)
    return size == PyBytes_GET_SIZE(<object> other) and (
        memcmp(PyBytes_AS_STRING(<object> one), PyBytes_AS_STRING(<object> other), size) == 0
    )


cdef char* put_field(char* out, bytes name, bytes value) noexcept:
    out = put(out, name)
    memcpy(out, b": ", 2)
    out = put(out + 2, value)
    memcpy(out, b"\r\n", 2)
    return out + 2


cdef Py_ssize_t _write_length(char* out, long long size) except -1:
    """Writes `content-length: <size>` and its line end; how many bytes that took."""
    cdef char[20] digits
    cdef Py_ssize_t at = 20
    if size < 0:
        raise ValueError(f"not a size: {size}")
    while size or at == 20:
        at -= 1
        digits[at] = <char> (48 + size % 10)
        size //= 10
    memcpy(out, b"content-length: ", 16)
    memcpy(out + 16, digits + at, 20 - at)
    memcpy(out + 36 - at, b"\r\n", 2)
    return 38 - at


cdef class MessageParser:

    def __cinit__(self, FieldNames wanted=None):
        self.keeps_all = wanted is None
        self.known = wanted if wanted is not None else FRAMING_ONLY
        self.length = -1
        self.state = HEAD
        self.head = b""
        self.said = []

    cpdef bytes feed(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = 0, take
        cdef const unsigned char* p = <const unsigned char*> PyBytes_AS_STRING(data)
        cdef bytes piece = b"", part
        cdef list parts = None
        while at < size:
            if self.state == HEAD:
                at = self._process_head(data, p, at, size)
            elif self.state == BODY_CHUNK_DATA or self.state == BODY_LENGTH or self.state == BODY_UNTIL_EOF:
                take = size - at
                if self.state != BODY_UNTIL_EOF and take > self.remaining:
                    take = <Py_ssize_t> self.remaining
                part = data if take == size else PyBytes_FromStringAndSize(<const char*> p + at, take)
                if not piece:
                    piece = part
                elif parts is None:
                    parts = [piece, part]
                else:
                    parts.append(part)
                at += take
                if self.state != BODY_UNTIL_EOF:
                    self.remaining -= take
                    if self.remaining == 0:
                        if self.state == BODY_LENGTH:
                            self.state = DONE
                            self.done = True
                        else:
                            self.state = BODY_CHUNK_END
            elif self.state == DONE:
                at = self._process_excess(data, at, size)
            elif (self.state == BODY_CHUNK_END and size - at >= 2 and self.held is None
                    and p[at] == 13 and p[at + 1] == 10):
                at += 2
                self.state = BODY_CHUNK_SIZE
            else:
                at = self._process_line(data, p, at, size)
        return piece if parts is None else b"".join(parts)

    cdef Py_ssize_t _process_head(self, bytes data, const unsigned char* p, Py_ssize_t at, Py_ssize_t size) except -1:
        """Finds the blank line; a head that came in one piece is parsed where it lies."""
        cdef Py_ssize_t start = at, line = at, begin, end = 0
        cdef const unsigned char* nl
        cdef const char* known = PyBytes_AS_STRING(self.head)
        cdef Lines lines
        cdef Py_ssize_t held = len(self.held) if self.held is not None else 0
        cdef const unsigned char* q
        if held == 0:
            lines.count = 0
            lines.known = 0
            while True:
                if lines.count < self.n_lines:
                    # The line that stood here in the head before: of 19 lines of an SDK's request 17 as a rule.
                    begin, end = end, self.ends[lines.count]
                    if end - begin <= size - line and memcmp(p + line, known + begin, end - begin) == 0:
                        lines.known |= (<uint64_t> 1) << lines.count
                        line += end - begin
                        lines.ends[lines.count] = line - start
                        lines.count += 1
                        continue
                nl = <const unsigned char*> memchr(p + line, 10, size - line)
                if nl == NULL:
                    break
                if nl == p + start or (nl - 1)[0] != 13:
                    raise ProtocolError("a line ends without CR LF")
                if nl - p == line + 1:
                    if line == start:
                        raise ProtocolError("no start line")
                    if nl + 1 - p - start > MAX_HEAD:
                        raise HeadTooLarge("a head larger than 64 KiB")
                    self._parse_head(p + start, line - start, &lines)
                    return nl + 1 - p
                line = nl + 1 - p
                if lines.count < MOST_LINES:
                    lines.ends[lines.count] = line - start
                    lines.count += 1
            self.held = bytearray(data[start:])
            self.scanned = line - start
        else:
            # A head in pieces: one memory copy per piece and no byte searched twice.
            self.held += data[start:]
            line = self.scanned
            q = <const unsigned char*> <char*> self.held
            while True:
                nl = <const unsigned char*> memchr(q + line, 10, len(self.held) - line)
                if nl == NULL:
                    break
                if nl == q or (nl - 1)[0] != 13:
                    raise ProtocolError("a line ends without CR LF")
                if nl - q == line + 1:
                    if line == 0:
                        raise ProtocolError("no start line")
                    if nl + 1 - q > MAX_HEAD:
                        raise HeadTooLarge("a head larger than 64 KiB")
                    at = start + (nl + 1 - q) - held
                    whole = bytes(self.held[:line])
                    self.held = None
                    self._parse_head(<const unsigned char*> PyBytes_AS_STRING(whole), line, NULL)
                    return at
                line = nl + 1 - q
            self.scanned = line
        if len(self.held) > MAX_HEAD:
            raise HeadTooLarge("a head larger than 64 KiB")
        self._check_prefix()
        return size

    cdef int _check_prefix(self) except -1:
        """Whether an unfinished head can still become one."""
        return 0

    cdef Py_ssize_t _process_line(self, bytes data, const unsigned char* p, Py_ssize_t at, Py_ssize_t size) except -1:
        """A chunk-size line, the CR LF after a chunk, or a trailer line."""
        cdef const unsigned char* nl = <const unsigned char*> memchr(p + at, 10, size - at)
        cdef Py_ssize_t end, stop = size if nl == NULL else nl + 1 - p
        cdef bytes line
        cdef const unsigned char* q
        cdef Py_ssize_t held = len(self.held) if self.held is not None else 0
        if held + stop - at > MAX_CHUNK_LINE:
            raise ProtocolError("a chunk line longer than 4 KiB")
        if nl == NULL or held:
            if self.held is None:
                self.held = bytearray()
            self.held += data[at:stop]
            if nl == NULL:
                if self.state == BODY_CHUNK_END and bytes(self.held) != b"\r":
                    raise ProtocolError("a chunk does not end with CR LF")
                return size
            line = bytes(self.held)
            self.held = None
            q = <const unsigned char*> PyBytes_AS_STRING(line)
            end = PyBytes_GET_SIZE(line)
        else:
            q = p + at
            end = stop - at
        if end < 2 or q[end - 2] != 13:
            raise ProtocolError("a chunk line ends without CR LF")
        end -= 2
        if self.state == BODY_CHUNK_END:
            if end != 0:
                raise ProtocolError("a chunk does not end with CR LF")
            self.state = BODY_CHUNK_SIZE
        elif self.state == BODY_CHUNK_SIZE:
            self._parse_chunk_size(q, end)
        elif end == 0:
            self.state = DONE
            self.done = True
        else:
            _check_trailer(q, end)
            self.trailer_bytes += end + 2
            if self.trailer_bytes > MAX_HEAD:
                raise ProtocolError("trailers larger than 64 KiB")
        return stop

    cdef int _remember(self, Py_ssize_t size, const Lines* lines) except -1:
        """Keeps a good head for the next one to be compared with, if that will be asked for before long: not while a
        stream may run for an hour. `said` is filled already."""
        cdef int line, count = lines.count if lines != NULL else 0
        if self.state == BODY_CHUNK_SIZE or self.state == BODY_UNTIL_EOF:
            count = 0
        if not count or lines.ends[count - 1] != size or size > MOST_REMEMBERED:
            self.said = []
            if not self.keeps_head:
                self.head = b""
            return 0
        if len(self.said) > count:
            del self.said[count:]
        for line in range(count):
            self.ends[line] = <unsigned short> lines.ends[line]
        self.n_lines = count
        return 0

    cdef void _forget(self) noexcept:
        self.n_lines = 0
        self.head = b""
        self.said = []

    cdef int _parse_head(self, const unsigned char* p, Py_ssize_t size, const Lines* lines) except -1:
        """`p[:size]` is the start line and the field lines, each with its CR LF. lines: where the first of them end, as
        far as that is known."""
        cdef Py_ssize_t at = 0, end
        cdef int line = 0, before = self.n_lines
        cdef uint64_t known = lines.known if lines != NULL else 0
        cdef bint same = known and not known & (known + 1) and known >> (before - 1) == 1 \
            and size == PyBytes_GET_SIZE(self.head)
        self.length = -1
        self.coding = self.connection = None
        self.n_lines = 0
        if not same:
            self.head = PyBytes_FromStringAndSize(<const char*> p, size)
        self._begin_fields(known != 0 and lines.count == before and lines.ends[before - 1] == size)
        while at < size:
            if lines != NULL and line < lines.count:
                end = lines.ends[line]
            else:
                end = <const unsigned char*> memchr(p + at, 10, size - at) + 1 - p
            if line > MAX_FIELDS:
                raise HeadTooLarge("more than 128 header fields")
            if line == 0:
                self._parse_start(p, end - 2, known & 1)
            elif line < MOST_LINES and known >> line & 1:
                self._take_field(<tuple> PyList_GET_ITEM(self.said, line), True)
            else:
                self._parse_line(line, p + at, end - 2 - at)
            at = end
            line += 1
        self._take_head()
        if same:
            self.n_lines = before
        else:
            self._remember(size, lines)
        return 0

    cdef int _parse_line(self, int line, const unsigned char* p, Py_ssize_t size) except -1:
        """A field that was not there in the head before."""
        cdef tuple field = self._parse_field(p, size)
        cdef list said = self.said
        if line < len(said):
            self._replace_field(line, field)
        else:
            while len(said) < min(line, MOST_LINES):
                said.append(None)  # the start line
            if line < MOST_LINES:
                said.append(field)
            self._take_field(field, False)
        return 0

    cdef tuple _parse_field(self, const unsigned char* p, Py_ssize_t size):
        """The name and value of a field that is kept; None for another, which is as well-formed."""
        cdef Py_ssize_t colon, start, end = size
        cdef const unsigned char* mark
        cdef bytes name
        mark = <const unsigned char*> memchr(p, 58, size)
        if mark == NULL:
            raise ProtocolError("malformed header field name")
        colon = mark - p
        name = self.known.find(p, colon)
        if name is None:  # one that is known is well-formed
            if not _is_name(p, colon):
                raise ProtocolError("malformed header field name")
            if self.keeps_all:
                name = _lowered(p, colon)
        start = colon + 1
        while start < end and (p[start] == 32 or p[start] == 9):
            start += 1
        while end > start and (p[end - 1] == 32 or p[end - 1] == 9):
            end -= 1
        if _has_control(p + start, end - start):
            raise ProtocolError("control character in a header field")
        if name is None:
            return None
        return name, PyBytes_FromStringAndSize(<const char*> p + start, end - start)

    cdef int _note_framing(self, bytes name, bytes value) except -1:
        """RFC 9112 section 6, without its leniencies: whatever two parsers could read differently is refused."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
        if size == 14 and name == b"content-length":
            if self.length >= 0:
                raise ProtocolError("bad or repeated Content-Length")
            self.length = _decimal(value)
        elif size == 17 and name == b"transfer-encoding":
            if self.coding is not None:
                raise ProtocolError("repeated Transfer-Encoding")
            self.coding = value.lower()
        elif size == 10 and name == b"connection":
            if self.connection is not None:
                self.connection = self.connection + b"," + value.lower()
            else:
                self.connection = KEEP_ALIVE if value == KEEP_ALIVE else value.lower()
        return 0

    cdef int _choose_persistence(self) except -1:
        if self.coding is not None and (self.coding != b"chunked" or self.length >= 0 or self.http10):
            raise ProtocolError("Transfer-Encoding other than chunked alone")
        self.keep_alive = not self.http10
        if self.connection is KEEP_ALIVE:  # what nearly all clients and servers say
            self.keep_alive = True
        elif self.connection is not None:
            options = [option.strip() for option in self.connection.split(b",")]
            if b"close" in options:
                self.keep_alive = False
            elif b"keep-alive" in options:
                self.keep_alive = True
        return 0

    cdef int _begin_body(self) except -1:
        """A body of declared size or in chunks; without either there is none."""
        if self.coding is not None:
            self.state = BODY_CHUNK_SIZE
        elif self.length > 0:
            self.remaining = self.length
            self.state = BODY_LENGTH
        else:
            self.state = DONE
            self.done = True
        self.head_done = True
        return 0

    cdef int _parse_chunk_size(self, const unsigned char* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t i = 0, k, quotes = 0
        cdef long long value = 0
        cdef unsigned char c
        while i < size:
            c = p[i]
            if _is_digit(c):
                value = value * 16 + (c - 48)
            elif 97 <= (c | 32) <= 102:
                value = value * 16 + ((c | 32) - 87)
            else:
                break
            i += 1
            if i > 15:
                raise ProtocolError("chunk size out of range")
        if i == 0:
            raise ProtocolError("malformed chunk size")
        if i < size:
            self.extension_bytes += size - i
            if self.extension_bytes > MAX_EXTENSIONS:
                raise ProtocolError("chunk extensions larger than 16 KiB")
            if p[i] != 59 and p[i] != 32 and p[i] != 9:
                raise ProtocolError("malformed chunk size")
            for k in range(i, size):
                if p[k] < 32 and p[k] != 9 or p[k] == 127:
                    raise ProtocolError("control character in a chunk extension")
                quotes += p[k] == 34
            while i < size and (p[i] == 32 or p[i] == 9):
                i += 1
            if i == size or p[i] != 59:
                raise ProtocolError("malformed chunk size")
            if i + 1 == size or quotes % 2:
                raise ProtocolError("malformed chunk extension")
        self.remaining = value
        self.state = BODY_CHUNK_DATA if value else TRAILERS
        return 0

    cdef Py_ssize_t _process_excess(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int _parse_start(self, const unsigned char* p, Py_ssize_t size, bint known) except -1:
        raise NotImplementedError

    cdef int _begin_fields(self, bint alike) except -1:
        raise NotImplementedError

    cdef int _take_field(self, tuple field, bint known) except -1:
        raise NotImplementedError

    cdef int _replace_field(self, int line, tuple field) except -1:
        raise NotImplementedError

    cdef int _take_head(self) except -1:
        raise NotImplementedError


cdef class ResponseParser(MessageParser):

    def __cinit__(self, FieldNames wanted=None):
        self.headers = []

    cpdef void reset(self):
        """Ready for the next response of the connection."""
        self.state = HEAD
        self.head_done = self.done = False
        self.headers = []
        self.excess = 0
        self.interim = 0
        self.trailer_bytes = self.extension_bytes = 0
        self.held = None

    cpdef bint eof(self) except -1:
        if self.state == BODY_UNTIL_EOF:
            self.state = DONE
            self.done = True
        return self.done

    cdef Py_ssize_t _process_excess(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        self.excess += size - at
        return size

    cdef int _check_prefix(self) except -1:
        if len(self.held) >= 7 and bytes(self.held[:7]) != b"HTTP/1.":
            raise ProtocolError("not an HTTP/1.1 response")
        return 0

    cdef int _parse_start(self, const unsigned char* p, Py_ssize_t size, bint known) except -1:
        if known:
            return 0
        if (size < 12 or p[0] != 72 or p[1] != 84 or p[2] != 84 or p[3] != 80 or p[4] != 47 or p[5] != 49
                or p[6] != 46 or (p[7] != 48 and p[7] != 49) or p[8] != 32):
            raise ProtocolError("not an HTTP/1.1 response")
        if not (_is_digit(p[9]) and _is_digit(p[10]) and _is_digit(p[11])) or (size > 12 and p[12] != 32):
            raise ProtocolError("malformed status line")
        cdef Py_ssize_t i
        for i in range(12, size):
            if p[i] < 32 and p[i] != 9 or p[i] == 127:
                raise ProtocolError("control character in the status line")
        self.http10 = p[7] == 48
        self.status = (p[9] - 48) * 100 + (p[10] - 48) * 10 + (p[11] - 48)
        if self.status < 100 or self.status > 599:
            raise ProtocolError("status code out of range")
        return 0

    cdef int _begin_fields(self, bint alike) except -1:
        if self.headers:  # of an interim response
            self.headers = []
        return 0

    cdef int _take_field(self, tuple field, bint known) except -1:
        if field is not None:
            self.headers.append(field)
        return 0

    cdef int _replace_field(self, int line, tuple field) except -1:
        self.said[line] = field
        return self._take_field(field, False)

    cdef int _take_head(self) except -1:
        cdef bytes name, value
        if self.status < 200:
            if self.status == 101:
                raise ProtocolError("the peer switched protocols unasked")
            self.interim += 1
            if self.interim > MAX_INTERIM:
                raise ProtocolError("too many interim responses")
            return 0
        for name, value in self.headers:
            self._note_framing(name, value)
        self._choose_persistence()
        if self.status == 204 or self.status == 304:
            self.head_done = self.done = True
            self.state = DONE
        elif self.coding is None and self.length < 0:
            self.head_done = True
            self.state = BODY_UNTIL_EOF
            self.keep_alive = False
        else:
            self._begin_body()
        return 0


cdef class RequestParser(MessageParser):

    def __cinit__(self, FieldNames wanted=None):
        self.fields = {}
        self.rest = b""
        self.keeps_head = True

    cpdef void reset(self):
        """Ready for the next request; `rest` is the caller's to feed again."""
        self.state = HEAD
        self.head_done = self.done = self.repeated = self.expects_continue = False
        self.rest = b""
        self.trailer_bytes = self.extension_bytes = 0

    cpdef list values(self, bytes name):
        cdef list found = []
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name:
                found.append(value.strip(b" \t"))
        return found

    cdef Py_ssize_t _process_excess(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        self.rest += data[at:]
        return size

    cdef int _parse_start(self, const unsigned char* p, Py_ssize_t size, bint known) except -1:
        cdef Py_ssize_t i = 0, start
        if known and not self.resolved:
            return 0
        self.resolved = False
        while i < size and TOKEN[p[i]]:
            i += 1
        if i == 0 or i > 32 or i == size or p[i] != 32:
            raise ProtocolError("malformed method")
        self.method = PyBytes_FromStringAndSize(<const char*> p, i)
        start = i + 1
        i = start
        while i < size and 33 <= p[i] <= 126 and p[i] != 35:
            i += 1
        if i == start or i == size or p[i] != 32:
            raise ProtocolError("malformed request target")
        self.target = PyBytes_FromStringAndSize(<const char*> p + start, i - start)
        if (size - i != 9 or p[i + 1] != 72 or p[i + 2] != 84 or p[i + 3] != 84 or p[i + 4] != 80 or p[i + 5] != 47
                or p[i + 6] != 49 or p[i + 7] != 46 or (p[i + 8] != 48 and p[i + 8] != 49)):
            raise ProtocolError("not HTTP/1.0 or HTTP/1.1")
        self.http10 = p[i + 8] == 48
        return 0

    cdef int _begin_fields(self, bint alike) except -1:
        # A head of as many lines mostly has the fields of the one before: then its dictionary is this one's, with other
        # values. Filling one anew takes 300 instructions a field.
        self.patches = alike and not self.repeated_before
        if not self.patches:
            self.fields = {}
        elif (<PyObject*> self.fields).ob_refcnt > 1:  # somebody still looks at it
            self.fields = self.fields.copy()
        return 0

    cdef int _take_field(self, tuple field, bint known) except -1:
        if field is not None:
            self._note_framing(<bytes> PyTuple_GET_ITEM(field, 0), <bytes> PyTuple_GET_ITEM(field, 1))
            if not (known and self.patches):
                self._put(field)
        return 0

    cdef int _replace_field(self, int line, tuple field) except -1:
        cdef tuple before = <tuple> PyList_GET_ITEM(self.said, line)
        cdef int i
        self.said[line] = field
        if self.patches and (field is None or before is None or field[0] != before[0]):
            if field is not before:  # it has other fields than the head before
                self.patches = False
                self.fields = {}
                for i in range(1, line):
                    if self.said[i] is not None:
                        self._put(self.said[i])
        return self._take_field(field, False)

    cdef int _put(self, tuple field) except -1:
        cdef bytes name = <bytes> PyTuple_GET_ITEM(field, 0)
        cdef Py_ssize_t before = len(self.fields)
        self.fields[name] = <bytes> PyTuple_GET_ITEM(field, 1)
        if len(self.fields) == before and not self.patches:
            if name == b"host":
                raise ProtocolError("repeated Host")
            self.repeated = True
        return 0

    cdef int _take_head(self) except -1:
        self._choose_persistence()
        if not self.http10 and b"host" not in self.fields:
            raise ProtocolError("no Host")
        self._resolve_target()
        expect = self.fields.get(b"expect")
        self.expects_continue = expect is not None and not self.http10 and expect.lower() == b"100-continue"
        self._begin_body()
        self.repeated_before = self.repeated
        return 0

    cdef int _resolve_target(self) except -1:
        """Origin form as it is; absolute form must name the Host and becomes origin form; nothing else is served."""
        cdef bytes target = self.target
        if target.startswith(b"/"):
            return 0
        if target == b"*" and self.method == b"OPTIONS":
            return 0
        scheme, mark, rest = target.partition(b"://")
        if not mark or scheme.lower() not in (b"http", b"https"):
            raise ProtocolError("request target in a form that is not served")
        authority, slash, path = rest.partition(b"/")
        authority, query_mark, query = authority.partition(b"?")
        if authority.lower() != self.fields.get(b"host", authority).lower() or not authority:
            raise ProtocolError("request target and Host disagree")
        self.resolved = True
        self.target = b"/" + path if slash else b"/" + query_mark + query
        return 0
