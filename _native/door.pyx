"""The caller's connection in compiled code. See door.pyi for the contract."""

from http import HTTPStatus

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.string cimport memchr, memcpy

from _native.http1 cimport RequestParser, length_field, put
from _native.relay cimport Sink, Source
from _native.transport cimport give

from _native.http1 import HeadTooLarge, ProtocolError

#: Bytes of later requests that may wait on one connection, and of an unread body that is thrown away.
cdef enum:
    WAITING_LIMIT = 65536
    DISCARD_LIMIT = 65536

cdef double LINGER = 1.0
cdef const char* HEX = "0123456789abcdef"

cdef dict STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
STATUS_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"
STATUS_LINES[529] = b"HTTP/1.1 529 Overloaded\r\n"
cdef bytes OK_LINE = STATUS_LINES[200]


cdef bytes status_line(int status):
    if status == 200:  # as nearly all are
        return OK_LINE
    line = STATUS_LINES.get(status)
    return line if line is not None else b"HTTP/1.1 %d Unknown\r\n" % status


cdef bytes _chunk(bytes data):
    """`data` as one chunk of a chunked body."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), digits = 1, i
    cdef bytes framed
    cdef char* out
    while size >> (4 * digits):
        digits += 1
    framed = PyBytes_FromStringAndSize(NULL, digits + size + 4)
    out = PyBytes_AS_STRING(framed)
    for i in range(digits):
        out[i] = HEX[(size >> (4 * (digits - 1 - i))) & 15]
    out[digits] = 13
    out[digits + 1] = 10
    memcpy(out + digits + 2, PyBytes_AS_STRING(data), size)
    out[digits + 2 + size] = 13
    out[digits + 3 + size] = 10
    return framed


cdef inline Py_ssize_t _size_of(object piece) except -1:
    if not PyBytes_Check(piece):
        raise TypeError(f"a header field is bytes, not {type(piece).__name__}")
    return PyBytes_GET_SIZE(piece)


cdef class CallerConnection:

    def __cinit__(self, object door):
        self.door = door
        self.clock = door.clock
        self.begin = door.begin
        self.parser = RequestParser(door.fields_read)
        self.phase = IDLE
        self.peer = ""
        self.waiting = b""

    @property
    def expecting(self):
        if self.closed or self.phase == LINGERING:
            return False
        return self.phase != ANSWERING or (self.exchange is not None and not self.exchange.body_done)

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=self.door.high_water)
        self.since = self.clock.monotonic()
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = self.door.peer(address)
        self.door.opened(self)

    def connection_lost(self, exc):
        self.closed = True
        exchange, self.exchange = self.exchange, None
        try:
            if exchange is not None:
                (<CallerExchange> exchange)._leave()
        finally:
            self.door.closed(self)

    def eof_received(self):
        # A caller that half-closes is gone: nothing tells it from one that left.
        return False

    def pause_writing(self):
        self.full = True
        if self.exchange is not None:
            self.exchange.stalled = self.clock.monotonic()
            if self.exchange.source is not None:
                self.exchange.source.pause()

    def resume_writing(self):
        self.full = False
        if self.exchange is not None:
            self.exchange.stalled = 0
            if self.exchange.source is not None:
                self.exchange.source.resume()

    def doubt(self):
        self.doubted = True

    def data_received(self, bytes data):
        if self.doubted:
            self.doubted = False
            answer = self.door.judge(data, self.peer)
            if answer is not None:
                self.last = True
                self.transport.write(answer)
                self._linger()
                return
        if self.phase == LINGERING:
            self.discarded += PyBytes_GET_SIZE(data)
            if self.discarded >= DISCARD_LIMIT:
                self._pause_reading()
            return
        if (self.phase == ANSWERING and self.parser.done) or PyBytes_GET_SIZE(self.waiting):
            self.waiting += data
            if PyBytes_GET_SIZE(self.waiting) > WAITING_LIMIT:
                self._refuse_waiting()
            return
        self._take(data)

    def _refuse_waiting(self):
        """A caller that sends far ahead of the answers: what runs is finished, the rest is not served."""
        self.waiting = b""
        self.last = True
        if self.phase == IDLE:
            self.transport.close()
        else:
            self._pause_reading()

    cdef void _pause_reading(self):
        if not self.reading_paused:
            self.reading_paused = True
            self.transport.pause_reading()

    def stop(self, double chance):
        cdef bint first = not self.last
        cdef double now
        self.last = True
        if self.phase != IDLE or PyBytes_GET_SIZE(self.waiting):
            return
        now = self.clock.monotonic()
        if first and (not self.served or now - self.since < chance):
            self.closes_at = now + chance
        elif now >= self.closes_at:
            self.transport.close()

    def abort(self):
        if not self.closed:
            self.transport.abort()

    cpdef void sweep(self, double now, double head_limit, double idle_limit):
        """Enforces what no event does; called every 100 ms."""
        cdef CallerExchange exchange = self.exchange
        if self.phase == IDLE:
            if self.last:
                if now >= self.closes_at:
                    self.transport.close()
            elif now - self.since > (idle_limit if self.served else head_limit):
                self.transport.close()
        elif self.phase == HEAD:
            if now - self.since > head_limit:
                self._refuse(408, "The request head did not arrive in time.")
        elif self.phase == LINGERING:
            if now - self.since > LINGER:
                self.transport.abort()
        elif exchange is not None and not exchange.body_done and not self.reading_paused:
            if exchange.taker is not None and now - self.since > exchange.patience:
                taker, exchange.taker = exchange.taker, None
                taker.on_refused(self.door.slow_body())

    cdef void _take(self, bytes data):
        """Bytes of the head or body of the current request."""
        cdef RequestParser parser = self.parser
        cdef bint fresh = not parser.head_done
        cdef bytes body
        cdef CallerExchange exchange
        if self.phase == IDLE:
            self.phase = HEAD
            self.since = self.clock.monotonic()
        try:
            body = parser.feed(data)
        except HeadTooLarge as error:
            self._refuse(431, f"The request has {error}.")
            return
        except ProtocolError as error:
            if fresh and parser.head_done:
                self._begin()  # its head is good: it is a request, with an id and a record, whose body is broken
                if self.phase == LINGERING:
                    return
            self._refuse(400, f"The request is not acceptable HTTP/1.1: {error}.")
            return
        if not parser.head_done:
            return
        if parser.done and PyBytes_GET_SIZE(parser.rest):
            self.waiting = parser.rest
        if fresh:
            self._begin()
        exchange = self.exchange
        if exchange is None or self.phase != ANSWERING:
            return
        if not exchange.body_done and (PyBytes_GET_SIZE(body) or parser.done):
            self.since = self.clock.monotonic()
            exchange._deliver(body, parser.done)

    cdef void _begin(self):
        cdef CallerExchange exchange = CallerExchange.__new__(CallerExchange)
        cdef RequestParser parser = self.parser
        cdef bytes target = parser.target
        cdef const char* begin = PyBytes_AS_STRING(target)
        cdef const char* mark = <const char*> memchr(begin, 63, PyBytes_GET_SIZE(target))
        cdef Py_ssize_t size = mark - begin if mark != NULL else PyBytes_GET_SIZE(target)
        exchange.connection = self
        exchange.method = "POST" if parser.method == b"POST" else parser.method.decode("latin-1")  # as nearly all are
        exchange.path = PyUnicode_DecodeLatin1(begin, size, NULL)
        exchange.query = target[size + 1 :] if mark != NULL else b""
        exchange.fields = parser.fields
        exchange.repeated = parser.repeated
        exchange.peer = self.peer
        exchange.declared_length = max(parser.length, 0)
        self.phase = ANSWERING
        self.served = True
        self.exchange = exchange
        if self.full:  # of answers before this one
            exchange.stalled = self.clock.monotonic()
        self.last = self.last or not parser.keep_alive
        self.begin(exchange)

    cdef void _answered(self, CallerExchange exchange):
        """The answer of `exchange` is written whole."""
        if self.exchange is not exchange:
            return
        self.exchange = None
        if self.closed:
            return
        if not self.parser.done:
            # The rest of its body is unread. Closing now would reset the connection before the caller reads the answer.
            self._linger()
            return
        if self.last:
            self.transport.close()
            return
        self.parser.reset()
        self.discarded = 0
        self.phase = IDLE
        self.since = self.clock.monotonic()
        if self.reading_paused:
            self.reading_paused = False
            self.transport.resume_reading()
        if PyBytes_GET_SIZE(self.waiting):
            self.door.soon(self._next)

    def _next(self):
        """Serves the next pipelined request. Not from inside the last one: a hundred of them would recurse."""
        if self.phase == IDLE and not self.closed:
            data, self.waiting = self.waiting, b""
            if data:
                self._take(data)

    cdef void _linger(self):
        """Half-closes and throws away a little of what still comes, for a second, so that the caller can read."""
        self.phase = LINGERING
        self.since = self.clock.monotonic()
        if self.discarded:
            self._pause_reading()  # it sent more than it may already
        elif self.reading_paused:
            self.reading_paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    cdef void _refuse(self, int status, str reason):
        """Answers what never became an exchange, or broke off inside its body, and closes."""
        cdef CallerExchange exchange = self.exchange
        self.last = True
        if exchange is not None:
            taker, exchange.taker = exchange.taker, None
            if taker is not None:
                taker.on_refused(self.door.broken_body())  # its answer ends in _linger, for the parser is not done
            else:
                exchange._leave()
                self.exchange = None
                self.abort()
            return
        self.transport.write(status_line(status) + self.door.refusal(status, reason, self.peer))
        self._linger()


cdef class Exchange(Sink):

    cpdef list values(self, bytes name):
        raise NotImplementedError

    cpdef void read(self, long long limit, double seconds, object taker) except *:
        raise NotImplementedError

    cpdef Source read_pieces(self, long long limit, double seconds, object reader):
        raise NotImplementedError

    cpdef void reply(self, int status, object headers, bytes body) except *:
        raise NotImplementedError

    cpdef Sink stream(self, int status, object headers, Source source):
        raise NotImplementedError

    @property
    def buffered(self):
        raise NotImplementedError

    @property
    def stalled_since(self):
        raise NotImplementedError

    cpdef void abort(self) except *:
        raise NotImplementedError


cdef class CallerExchange(Exchange):

    # -- the request

    cpdef list values(self, bytes name):
        return self.connection.parser.values(name) if self.connection is not None else []

    cpdef void read(self, long long limit, double seconds, object taker) except *:
        self.taker = taker
        self._start(limit, seconds)

    cpdef Source read_pieces(self, long long limit, double seconds, object reader):
        self.reader = self.taker = reader
        self._start(limit, seconds)
        return BodySource(self)

    cdef void _start(self, long long limit, double seconds):
        self.limit = limit
        self.patience = seconds
        if self.connection.parser.expects_continue and not self.connection.parser.done:
            self.connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    cdef void _deliver(self, bytes data, bint last):
        cdef object taker = self.taker
        self.body_done = last
        if taker is None:
            return
        self.received += PyBytes_GET_SIZE(data)
        if self.received > self.limit:
            self.taker = None
            self.connection.discarded = <Py_ssize_t> (self.received - self.limit)
            taker.on_refused(self.connection.door.too_large(self.limit))
            return
        if last:
            self.taker = None
        if self.reader is not None:
            self.reader.on_piece(data, last)
            return
        if not last:
            if self.pieces is None:
                self.pieces = []
            self.pieces.append(data)
            return
        if self.pieces is not None:
            self.pieces.append(data)
            data = b"".join(self.pieces)
            self.pieces = None
        taker.on_body(data)

    def pause_body(self):
        if self.connection is not None and not self.body_done and not self.connection.reading_paused:
            self.connection.reading_paused = True
            self.connection.transport.pause_reading()

    def resume_body(self):
        if self.connection is not None and self.connection.reading_paused:
            self.connection.reading_paused = False
            self.connection.since = self.connection.clock.monotonic()
            self.connection.transport.resume_reading()

    # -- the answer

    cpdef void reply(self, int status, object headers, bytes body) except *:
        if self.over or self.connection is None:
            return
        cdef bytes framing = length_field(len(body))
        if self.method == "HEAD":
            give(self.connection.transport, self._head(status, headers, framing, b""))
        elif PyBytes_GET_SIZE(body) < 16384:
            give(self.connection.transport, self._head(status, headers, framing, body))
        else:
            self.connection.transport.writelines([self._head(status, headers, framing, b""), body])
        self._finish()

    cpdef Sink stream(self, int status, object headers, Source source):
        if self.over or self.connection is None:
            return self
        self.source = source
        self.connection.parser._forget()  # a stream may be long, and nobody looks at its raw head again
        declared = False
        for name, _ in headers:
            if name == b"content-length":
                declared = True
        self.chunked = not declared and not self.connection.parser.http10
        if not declared and not self.chunked:
            self.connection.last = True
        framing = b"transfer-encoding: chunked\r\n" if self.chunked else b""
        if self.connection.full:
            source.pause()
        give(self.connection.transport, self._head(status, headers, framing, b""))
        return self

    cdef bytes _head(self, int status, object headers, bytes framing, bytes body):
        """The head of the answer, and `body` behind it, in one piece."""
        cdef bytes line = status_line(status), date = self.connection.door.date, end, whole
        cdef list fields = headers if type(headers) is list else list(headers)
        cdef Py_ssize_t size
        cdef char* out
        # With the rest of a body unread there is no telling where the next request begins.
        cdef bint keeps = self.connection.parser.done and not self.connection.last
        end = b"\r\n" if keeps else b"connection: close\r\n\r\n"
        size = len(line) + len(date) + len(framing) + len(end) + len(body)
        for name, value in fields:
            size += _size_of(name) + _size_of(value) + 4
        whole = PyBytes_FromStringAndSize(NULL, size)
        out = put(put(PyBytes_AS_STRING(whole), line), date)
        for name, value in fields:
            out = put(out, <bytes> name)
            memcpy(out, b": ", 2)
            out = put(out + 2, <bytes> value)
            memcpy(out, b"\r\n", 2)
            out += 2
        put(put(put(out, framing), end), body)
        return whole

    cpdef void write(self, bytes data):
        if self.over or self.connection is None:
            return
        give(self.connection.transport, _chunk(data) if self.chunked else data)

    cpdef void finish(self):
        if self.over or self.connection is None:
            return
        if self.chunked:
            give(self.connection.transport, b"0\r\n\r\n")
        self._finish()

    cpdef void fail(self, object error):
        """Cuts the connection, so that the caller sees a broken answer."""
        self.abort()

    cpdef void abort(self) except *:
        connection = self.connection
        self._drop()
        if connection is not None:
            (<CallerConnection> connection).exchange = None
            connection.abort()

    @property
    def buffered(self):
        if self.connection is None or self.connection.closed:
            return 0
        return self.connection.transport.get_write_buffer_size()

    @property
    def stalled_since(self):
        return self.stalled if self.stalled else None

    cdef void _finish(self):
        cdef CallerConnection connection = self.connection
        self._drop()
        connection._answered(self)

    cdef void _drop(self):
        """Ends the exchange and lets go of whatever could form a cycle."""
        self.over = True
        self.connection = None
        self.source = None
        self.on_left = self.reader = self.taker = self.pieces = None

    cdef void _leave(self):
        """The caller is gone."""
        left, taker = self.on_left, self.taker
        self._drop()
        if taker is not None:
            taker.on_refused(None)
        elif left is not None:
            left()


cdef class BodySource(Source):
    """Pauses and resumes the reading of one request body."""

    cdef CallerExchange exchange

    def __cinit__(self, CallerExchange exchange):
        self.exchange = exchange

    cpdef void pause(self):
        self.exchange.pause_body()

    cpdef void resume(self):
        self.exchange.resume_body()

    cpdef void cancel(self):
        self.exchange.pause_body()
