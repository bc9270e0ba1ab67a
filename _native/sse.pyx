"""Splits server-sent events into frames and finds their fields.

Owns: line ends, frame ends, field names. Does not own: what the data means, or how long a relayed frame may be.
Concurrency: the C functions are pure; a FrameSplitter or EventParser belongs to one stream on one thread.
"""

from libc.string cimport memchr, memcmp

ctypedef const unsigned char* Text

cdef enum:
    # `state` of frame_end. Both clear: at the start of a line, and no CR came before it.
    IN_LINE = 1
    AFTER_CR = 2
    # How far one search for a line end looks: a stream of one kind of line end is scanned at the speed of memchr, and
    # the search for the other kind costs each line no more than this.
    WINDOW = 512
    LF = 0x0A
    CR = 0x0D


cdef inline Py_ssize_t line_end(Text p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """Index of the first LF or CR at or after `pos`, or `size`."""
    cdef const void* hit
    cdef const void* earlier
    cdef Py_ssize_t end
    while pos < size:
        end = pos + WINDOW if size - pos > WINDOW else size
        hit = memchr(p + pos, LF, end - pos)
        if hit != NULL:
            end = <Text> hit - p
        earlier = memchr(p + pos, CR, end - pos)
        if earlier != NULL:
            return <Text> earlier - p
        if hit != NULL:
            return end
        pos = end
    return size


cdef inline Py_ssize_t past_line_end(Text p, Py_ssize_t pos, Py_ssize_t size, int* state) noexcept nogil:
    """From an LF or CR to the next line; a CR at the end of the buffer leaves AFTER_CR behind."""
    state[0] = 0
    if p[pos] == LF:
        return pos + 1
    if pos + 1 == size:
        state[0] = AFTER_CR
        return size
    return pos + 2 if p[pos + 1] == LF else pos + 1


cdef Py_ssize_t frame_end(const unsigned char* p, Py_ssize_t start, Py_ssize_t size, int* state) noexcept nogil:
    cdef Py_ssize_t pos = start
    cdef Py_ssize_t end
    cdef bint blank
    if pos >= size:
        return -1
    if state[0] & AFTER_CR:
        state[0] = 0
        if p[pos] == LF:
            pos += 1
    while pos < size:
        end = line_end(p, pos, size)
        if end == size:
            state[0] = IN_LINE
            return -1
        blank = end == pos and not state[0] & IN_LINE
        pos = past_line_end(p, end, size, state)
        if blank:
            return pos
    return -1


cdef struct Line:
    Py_ssize_t start
    Py_ssize_t end  # of its content
    Py_ssize_t name_end
    Py_ssize_t value


cdef Py_ssize_t next_line(Text p, Py_ssize_t pos, Py_ssize_t size, Line* line) noexcept nogil:
    """Reads the line at `pos`, which is below `size`; returns where the next one starts."""
    cdef int state
    cdef const void* colon
    line.start = pos
    line.end = line_end(p, pos, size)
    colon = memchr(p + pos, b":", line.end - pos)
    line.name_end = <Text> colon - p if colon != NULL else line.end
    line.value = line.name_end + 1 if colon != NULL else line.end
    if line.value < line.end and p[line.value] == b" ":
        line.value += 1
    return size if line.end == size else past_line_end(p, line.end, size, &state)


cdef inline bint is_field(Text p, Line* line, const char* name, Py_ssize_t length) noexcept nogil:
    return line.name_end - line.start == length and memcmp(p + line.start, name, length) == 0


cdef inline bint is_error(Text p, Line* line) noexcept nogil:
    return line.end - line.value == 5 and memcmp(p + line.value, "error", 5) == 0


cdef int frame_data(const unsigned char* p, Py_ssize_t size, Py_ssize_t* start, Py_ssize_t* end,
                    int* event_is_error) noexcept nogil:
    cdef Line line
    cdef Py_ssize_t pos = 0
    cdef int found = 0
    event_is_error[0] = 0
    start[0] = end[0] = 0
    while pos < size:
        pos = next_line(p, pos, size, &line)
        if is_field(p, &line, "data", 4):
            if found == 0:
                start[0] = line.value
                end[0] = line.end
            found = 1 if found == 0 else 2
        elif is_field(p, &line, "event", 5) and is_error(p, &line):
            event_is_error[0] = 1
    return found


class FrameTooLarge(ValueError):
    def __init__(self, limit, frames):
        super().__init__(f"a frame is longer than {limit} bytes")
        self.limit = limit
        self.frames = frames


cdef class FrameSplitter:
    cdef readonly Py_ssize_t limit
    cdef readonly Py_ssize_t pending  # bytes of the unfinished frame
    cdef list parts  # those bytes, as they came
    cdef int state
    cdef bint broken

    def __init__(self, limit):
        self.limit = limit
        self.parts = []

    cdef bytes take(self):
        """The bytes held so far; nothing is held afterwards."""
        cdef bytes whole = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts.clear()
        self.pending = 0
        return whole

    cdef int hold(self, bytes part, list frames) except -1:
        """Adds to the frame under way."""
        self.pending += len(part)
        if self.pending > self.limit:
            self.broken = True
            self.take()
            raise FrameTooLarge(self.limit, frames)
        self.parts.append(part)
        return 0

    def feed(self, bytes data not None):
        cdef Text p = data
        cdef Py_ssize_t size = len(data)
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t end
        cdef list frames = []
        if self.broken:
            raise FrameTooLarge(self.limit, frames)
        while start < size:
            end = frame_end(p, start, size, &self.state)
            self.hold(data[start:] if end < 0 else data[start:end], frames)
            if end < 0:
                break
            frames.append(self.take())
            start = end
        return frames

    def flush(self):
        self.state = 0
        return self.take()


def classify(bytes frame not None):
    cdef Py_ssize_t start, end
    cdef int event_is_error
    cdef int lines = frame_data(frame, len(frame), &start, &end, &event_is_error)
    return lines, start, end, event_is_error != 0


def join_data(bytes frame not None):
    cdef Line line
    cdef Text p = frame
    cdef Py_ssize_t size = len(frame)
    cdef Py_ssize_t pos = 0
    cdef list values = []
    while pos < size:
        pos = next_line(p, pos, size, &line)
        if is_field(p, &line, "data", 4):
            values.append(frame[line.value:line.end])
    return b"\n".join(values)


cdef class EventParser:
    cdef FrameSplitter splitter
    cdef bytes mark  # what has come of a possible byte order mark; None once that is decided
    cdef str last_event_id

    def __init__(self, limit=1 << 20):
        self.splitter = FrameSplitter(limit)
        self.mark = b""
        self.last_event_id = ""

    cdef bytes skip_mark(self, bytes data):
        """`data` without the byte order mark that may open the stream; empty while that is undecided."""
        data = self.mark + data
        if len(data) < 3 and b"\xef\xbb\xbf".startswith(data):
            self.mark = data
            return b""
        self.mark = None
        return data[3:] if data.startswith(b"\xef\xbb\xbf") else data

    cdef tuple read(self, bytes frame):
        """The event of a whole frame, or None when it has no data."""
        cdef Line line
        cdef Text p = frame
        cdef Py_ssize_t size = len(frame)
        cdef Py_ssize_t pos = 0
        cdef list values = []
        cdef str kind = ""
        while pos < size:
            pos = next_line(p, pos, size, &line)
            if is_field(p, &line, "data", 4):
                values.append(frame[line.value:line.end])
            elif is_field(p, &line, "event", 5):
                kind = frame[line.value:line.end].decode("utf-8", "replace")
            elif is_field(p, &line, "id", 2) and memchr(p + line.value, 0, line.end - line.value) == NULL:
                self.last_event_id = frame[line.value:line.end].decode("utf-8", "replace")
        if not values:
            return None
        return kind or "message", b"\n".join(values).decode("utf-8", "replace"), self.last_event_id

    def feed(self, bytes data not None):
        if self.mark is not None:
            data = self.skip_mark(data)
        events = [self.read(frame) for frame in self.splitter.feed(data)]
        return [event for event in events if event is not None]
