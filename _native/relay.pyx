"""Relaying an answer in compiled code. See relay.pyi for the contract."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from _native.http1 cimport FieldNames, ResponseParser
from _native.jsonscan cimport FRAME_ERROR, FRAME_FINISHED, FRAME_NO_CHOICES, FRAME_USAGE, FrameFacts, scan_frame
from _native.sse cimport frame_data, frame_end
from _native.transport cimport give

from _native.http1 import ProtocolError
from _native.sse import join_data

DIALECTS = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES, "other": OTHER}


cdef class Sink:

    cpdef Sink head(self, int status, list headers):
        return self

    cpdef void write(self, bytes data):
        raise NotImplementedError

    cpdef void finish(self):
        raise NotImplementedError

    cpdef void fail(self, object error):
        raise NotImplementedError


cdef class Source:

    cpdef void pause(self):
        raise NotImplementedError

    cpdef void resume(self):
        raise NotImplementedError

    cpdef void cancel(self):
        raise NotImplementedError


cdef inline bint _equals(const unsigned char* p, Py_ssize_t size, bytes word) noexcept:
    return size == PyBytes_GET_SIZE(word) and memcmp(p, PyBytes_AS_STRING(word), size) == 0


cdef class StreamFilter:

    def __cinit__(self, str dialect="chat", bint strip_usage=False, Py_ssize_t limit=1048576):
        self.dialect = DIALECTS[dialect]
        self.strip_usage = strip_usage
        self.limit = limit
        self.held = b""

    @property
    def pending(self):
        return PyBytes_GET_SIZE(self.held)

    cpdef bytes push(self, bytes data):
        if self.terminal or self.broken is not None or self.error is not None:
            return b""
        cdef bytes buffer = data if PyBytes_GET_SIZE(self.held) == 0 else self.held + data
        cdef const unsigned char* p = <const unsigned char*> PyBytes_AS_STRING(buffer)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(buffer)
        cdef Py_ssize_t frame = 0, end, run = 0, scan = self.scanned
        cdef int verdict
        cdef list pieces = None
        if self.after_cr and size:
            # The LF of a CR LF that was cut in two belongs to the frame before it, and shares its fate.
            if p[0] == 10:
                frame = 1
                run = 0 if self.last_kept else 1
            self.after_cr = False
        if not self.begun:
            if size < 3 and p[0] == 0xEF:
                self.held = buffer
                return b""
            self.begun = True
            if size >= 3 and p[0] == 0xEF and p[1] == 0xBB and p[2] == 0xBF:
                frame = run = scan = 3
        while True:
            end = frame_end(p, scan, size, &self.scan_state)
            if end < 0:
                break
            # The LF of a closing CR LF is not counted: it may come in a later read, when the frame is already gone.
            if end - frame - (end - frame >= 2 and p[end - 1] == 10 and p[end - 2] == 13) > self.limit:
                self.broken = "oversized"
                size = frame
                break
            verdict = self._judge(p + frame, end - frame)
            self.last_kept = verdict == KEEP
            if verdict != KEEP:
                if pieces is None:
                    pieces = []
                if verdict == STOP_KEEP:
                    pieces.append(buffer[run:end])
                else:
                    pieces.append(buffer[run:frame])
                run = end
                if verdict != DROP:
                    self.held = b""
                    return b"".join(pieces)
            frame = scan = end
        if self.broken is not None:
            self.held = b""
        elif size - frame > self.limit:
            self.broken = "oversized"
            self.held = b""
        else:
            self.held = PyBytes_FromStringAndSize(<const char*> p + frame, size - frame) if frame < size else b""
            self.scanned = size - frame
            self.after_cr = frame == size and frame > 0 and p[frame - 1] == 13
        if pieces is None:
            if run == 0 and frame == PyBytes_GET_SIZE(buffer):
                return buffer
            return buffer[run:frame]
        pieces.append(buffer[run:frame])
        return b"".join(pieces)

    cpdef bytes end(self):
        """The body ended cleanly: a last frame may lack its blank line, a finished answer its terminal frame."""
        cdef bytes rest = self.held, out = b""
        cdef int verdict
        self.held = b""
        if self.terminal or self.broken is not None or self.error is not None:
            return b""
        if rest.strip():
            rest = rest.rstrip(b"\r\n") + b"\n\n"
            verdict = self._judge(<const unsigned char*> PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
            if verdict == KEEP or verdict == STOP_KEEP:
                out = rest
            if self.broken is not None:
                self.broken = "truncated"
            if self.terminal or self.broken is not None or self.error is not None:
                return out
        if self.dialect == CHAT and self.finished:
            self.terminal = True
            return out + b"data: [DONE]\n\n"
        if self.dialect == OTHER and self.frames:
            self.terminal = True
            return out
        self.broken = "truncated"
        return out

    cdef int _judge(self, const unsigned char* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t start = 0, end = 0
        cdef int named_error = 0
        cdef int lines = frame_data(p, size, &start, &end, &named_error)
        cdef bytes joined
        if lines == 0:
            # Comments and blank lines: not content, and before the first content they must not open the answer.
            return KEEP if self.frames else DROP
        if lines == 1:
            return self._judge_data(p + start, end - start, named_error)
        joined = join_data(PyBytes_FromStringAndSize(<const char*> p, size))
        return self._judge_data(<const unsigned char*> PyBytes_AS_STRING(joined), PyBytes_GET_SIZE(joined), named_error)

    cdef int _judge_data(self, const unsigned char* p, Py_ssize_t size, bint named_error) except -1:
        cdef FrameFacts facts
        if self.dialect != RESPONSES and size >= 6 and memcmp(p, b"[DONE]", 6) == 0:
            self.terminal = self.dialect == CHAT or self.dialect == OTHER
            if self.dialect == CHAT and not self.frames:
                self.terminal = False
                self.broken = "truncated"
                return STOP
            return STOP_KEEP if self.terminal else DROP
        if scan_frame(p, size, &facts) >= 0:
            self.broken = "malformed"
            return STOP
        if self.dialect != CHAT:
            return self._judge_typed(p, size, facts.type_start, facts.type_end)
        if named_error or facts.flags & FRAME_ERROR:
            self.error = PyBytes_FromStringAndSize(<const char*> p, size)
            return STOP
        if facts.flags & FRAME_USAGE:
            self.usage = PyBytes_FromStringAndSize(<const char*> p, size)
            if self.strip_usage and facts.flags & FRAME_NO_CHOICES:
                return DROP
        if facts.flags & FRAME_FINISHED:
            self.finished = True
        self.frames += 1
        return KEEP

    cdef int _judge_typed(self, const unsigned char* p, Py_ssize_t size, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef const unsigned char* name = p + start
        cdef Py_ssize_t length = end - start if start >= 0 else 0
        if _equals(name, length, b"error"):
            if not self.frames:
                self.error = PyBytes_FromStringAndSize(<const char*> p, size)
                return STOP
            self.terminal = True
            return STOP_KEEP
        self.frames += 1
        if self.dialect == RESPONSES:
            if (_equals(name, length, b"response.completed") or _equals(name, length, b"response.incomplete")
                    or _equals(name, length, b"response.failed")):
                self.usage = PyBytes_FromStringAndSize(<const char*> p, size)
                self.terminal = True
                return STOP_KEEP
        elif self.dialect == MESSAGES:
            if _equals(name, length, b"message_start"):
                self.usage_head = PyBytes_FromStringAndSize(<const char*> p, size)
            elif _equals(name, length, b"message_delta"):
                self.usage = PyBytes_FromStringAndSize(<const char*> p, size)
            elif _equals(name, length, b"message_stop"):
                self.terminal = True
                return STOP_KEEP
        return KEEP


cdef class Relay(Sink):

    def __cinit__(self, StreamFilter filter, object owner):
        self.filter = filter
        self.owner = owner

    cpdef void write(self, bytes data):
        cdef bytes chunk
        cdef StreamFilter filter = self.filter
        if self.over:
            return
        chunk = filter.push(data)
        if PyBytes_GET_SIZE(chunk):
            if self.out is None:
                self.out = self.owner.open()
            self.written += PyBytes_GET_SIZE(chunk)
            self.out.write(chunk)
        if filter.terminal or filter.broken is not None or filter.error is not None:
            self._close()

    cpdef void finish(self):
        cdef bytes chunk
        if self.over:
            return
        chunk = self.filter.end()
        if PyBytes_GET_SIZE(chunk):
            if self.out is None:
                self.out = self.owner.open()
            self.written += PyBytes_GET_SIZE(chunk)
            self.out.write(chunk)
        self._close()

    cpdef void fail(self, object error):
        if not self.over:
            self.over = True
            self.owner.failed(error)

    cdef void _close(self):
        self.over = True
        self.owner.ended(self.filter)


cdef class Connection(Source):

    def __cinit__(self, object pool, FieldNames wanted=None):
        self.pool = pool
        self.parser = ResponseParser(wanted)

    @property
    def head_done(self):
        return self.parser.head_done

    def connection_made(self, transport):
        self.transport = transport

    cpdef void begin(self, object call, Sink sink, bytes data, bytes body, bint complete):
        """Sends a request (`complete`: no more body follows) and reads its answer into `sink`."""
        self.call = call
        self.sink = sink
        if self.exchanges:
            self.parser.reset()
        self.received = 0
        self.exchanges += 1
        self.sent = complete
        if body is None:
            give(self.transport, data)
        else:
            self.transport.writelines([data, body])

    def send(self, bytes data, bint last):
        """More of a streamed request body."""
        if data and not self.closed:
            self.transport.write(data)
        if last:
            self.sent = True

    def data_received(self, bytes data):
        cdef ResponseParser parser = self.parser
        cdef bytes body
        cdef Sink taker
        if self.sink is None:
            # Bytes nobody asked for: a desynchronised peer. Never reuse.
            self.cancel()
            return
        self.received += PyBytes_GET_SIZE(data)
        if not parser.head_done:
            try:
                body = parser.feed(data)
            except ProtocolError as error:
                self._break("protocol", error)
                return
            if not parser.head_done:
                return
            taker = self.sink.head(parser.status, parser.headers)
            if self.closed:
                return
            self.sink = taker
        else:
            try:
                body = parser.feed(data)
            except ProtocolError as error:
                self._break("protocol", error)
                return
        if PyBytes_GET_SIZE(body) and self.sink is not None:
            self.sink.write(body)
        if parser.done and self.sink is not None:
            self._complete()

    def eof_received(self):
        if self.sink is None:
            self.closed = True  # idle: not to be handed out in the moment before it is lost
        return False

    def connection_lost(self, exc):
        self.closed = True
        if self.sink is not None:
            # Only a proper close ends a body that has no length; a reset breaks it off.
            if exc is None and self.parser.head_done and self.parser.eof():
                self._complete()
            else:
                self._break("disconnected", exc)
        self.pool.lost(self)

    def pause_writing(self):
        if self.call is not None:
            self.call.pause_body()

    def resume_writing(self):
        if self.call is not None:
            self.call.resume_body()

    cpdef void pause(self):
        if not self.paused and not self.closed:
            self.paused = True
            self.transport.pause_reading()

    cpdef void resume(self):
        if self.paused and not self.closed:
            self.paused = False
            self.transport.resume_reading()

    cpdef void cancel(self):
        self.sink = None
        self.call = None
        if not self.closed:
            self.closed = True
            self.transport.abort()

    cdef void _complete(self):
        cdef Sink sink = self.sink
        cdef object call = self.call
        cdef bint reusable = self.parser.keep_alive and self.sent and not self.closed and self.parser.excess == 0
        self.sink = None
        self.call = None
        if reusable:
            self.resume()
        # The slot is free before the caller sees the end of the answer.
        self.pool.release(self, reusable)
        call.completed()
        sink.finish()

    cdef void _break(self, str cause, object detail):
        cdef object call = self.call
        self.sink = None
        self.call = None
        if not self.closed:
            self.closed = True
            self.transport.abort()
        call.broken(self, cause, detail)
