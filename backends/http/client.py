"""Calls over HTTP/1.1: sends a request on a pooled connection, enforces its deadlines, reports how it ended.

Owns the running calls of one endpoint. No timer per call: deadlines are fields that one 100 ms sweep reads. A reused
connection that dies before its first answer byte is replaced once by a fresh one, unseen by the sink, if the call is
repeatable. Single loop.
"""

from urllib.parse import urlsplit

from _native.clock import Clock
from _native.http1 import FieldNames, write_request
from _native.relay import Connection, Sink, StreamFilter
from _native.transport import Poller
from backends.base import Cause, EndpointSpec, Moment, UpstreamError
from backends.call import Call
from backends.dialects import orca
from backends.http.connector import Connector
from backends.http.pool import Pool, Waiting
from backends.http.resolver import Resolver

#: How long an answer that is already delivered may keep its connection to end properly, s.
LINGER = 1.0
#: A body up to this size, bytes, is copied behind its head: cheaper than two writes.
ONE_WRITE = 16 * 1024


class HttpCall(Waiting):
    """One attempt on the wire: waits for a connection, is sent on it, is over. It waits once more when a kept
    connection turns out to have died."""

    def __init__(self, backend: "HttpBackend", call: Call, sink: Sink, now: float) -> None:
        self.prepare(backend, call, sink, now)

    def prepare(self, backend: "HttpBackend", call: Call, sink: Sink, now: float) -> None:
        """What `__init__` does: called from C it needs no tuple of arguments."""
        self._backend = backend
        self._call = call
        self._sink = sink
        self.over = False
        self._connection: Connection | None = None
        self._filter: StreamFilter | None = None
        self._refreshed = False
        self._started = self._sent_at = self._marked_at = now
        self._mark: tuple[int, int] = (0, 0)
        self._linger_until = 0.0

    @property
    def moment(self) -> Moment:
        if self._connection is None:
            return Moment.CONNECT
        return Moment.BODY if self._connection.head_done else Moment.HEAD

    # -- from the pool

    def attach(self, connection: Connection) -> None:
        """The connection is ours: send."""
        self._connection = connection
        self._sent_at = self._marked_at = self._backend.clock.monotonic()
        call = self._call
        body = call.body
        if call.feed is not None:
            connection.begin(self, self._sink, self._backend.request_head(call, None), None, False)
            call.feed.start(self)
        elif body is None or len(body) <= ONE_WRITE:
            connection.begin(self, self._sink, self._backend.request_head(call, body), None, True)
        else:
            connection.begin(self, self._sink, self._backend.request_head(call, None), body, True)

    def unconnected(self, error: UpstreamError) -> None:
        """No connection could be made."""
        self._end()
        self._sink.fail(error)

    # -- from the connection

    def completed(self) -> None:
        self._end()

    def broken(self, connection: Connection, cause: str, detail: object) -> None:
        """The exchange broke."""
        moment = Moment.BODY if connection.head_done else Moment.HEAD
        stale = connection.exchanges > 1 and connection.received == 0 and cause == Cause.DISCONNECTED
        if stale and self._call.repeatable and self._call.feed is None and not self._refreshed:
            self._refreshed = True
            self._connection = None
            self._backend.pool.open_for(self)
            return
        self._end()
        self._sink.fail(UpstreamError(Cause(cause), moment, str(detail) if detail else ""))

    def pause_body(self) -> None:
        if self._call.feed is not None:
            self._call.feed.pause()

    def resume_body(self) -> None:
        if self._call.feed is not None:
            self._call.feed.resume()

    # -- from the body feed

    def send(self, data: bytes, last: bool) -> None:
        """A piece of an uploaded body; framed when its length was not declared."""
        if self._connection is None or self.over:
            return
        if self._call.length is None:
            data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"0\r\n\r\n" if last else b"")
        self._connection.send(data, last)

    # -- from whoever takes the answer

    def watch(self, stream: StreamFilter) -> None:
        """Progress is counted in events, so that keep-alive comments do not feed the idle deadline."""
        self._filter = stream

    def forget_request(self) -> None:
        """The answer flows: the request will not be sent again, and its body may go."""
        if self._call.feed is None:
            self._call.body = None

    def linger(self) -> None:
        """The answer is delivered; let the connection finish its framing, but not for long."""
        if not self.over:
            self._linger_until = self._backend.clock.monotonic() + LINGER

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def cancel(self) -> None:
        if self.over:
            return
        connection = self._connection
        self._end()
        if connection is not None:
            connection.cancel()

    # -- deadlines

    def sweep(self, now: float) -> None:
        """Ends the call when a deadline passed."""
        cause = self._overdue(now)
        if cause is None:
            return
        lingering, moment = bool(self._linger_until), self.moment
        self.cancel()
        if not lingering:
            self._sink.fail(UpstreamError(cause, moment, "deadline"))

    def _overdue(self, now: float) -> Cause | None:
        limits = self._backend.spec.deadlines
        if self._linger_until:
            return Cause.IDLE_TIMEOUT if now > self._linger_until else None
        if now - self._started > limits.total:
            return Cause.TOTAL_TIMEOUT
        if self._connection is None:
            if not self._backend.pool.is_waiting(self):
                return None  # being opened: the pool keeps the connect time-out itself
            return Cause.POOL_FULL if now - self._started > limits.connect else None
        if not self._connection.head_done or (self._filter is not None and not self._filter.frames):
            # Many servers send a stream's head at once: its first byte is its first event.
            return Cause.FIRST_BYTE_TIMEOUT if now - self._sent_at > limits.first_byte else None
        if self._has_progress():
            self._marked_at = now
            return None
        return Cause.IDLE_TIMEOUT if now - self._marked_at > limits.idle else None

    def _has_progress(self) -> bool:
        connection = self._connection
        assert connection is not None
        if connection.paused:
            return True  # the caller is slow, not the model server
        stream = self._filter
        mark = (stream.frames, stream.pending) if stream is not None else (connection.received, 0)
        if mark <= self._mark:  # a comment makes `pending` rise once and fall again
            return False
        self._mark = mark
        return True

    def _end(self) -> None:
        if self._connection is None:
            self._backend.pool.leave(self)
        self.over = True
        self._connection = None
        self._backend.calls.discard(self)


class HttpBackend:
    """Talks HTTP/1.1 to one endpoint. Implements `backends.base.Backend`."""

    def __init__(
        self,
        spec: EndpointSpec,
        resolver: Resolver,
        clock: Clock,
        poller: Poller,
        agent: bytes = b"fastpath",
        wanted: FieldNames | None = None,
    ) -> None:
        self.spec = spec
        self.clock = clock
        url = urlsplit(spec.url)
        self.pool = Pool(spec, clock, Connector(spec, url, resolver, clock, wanted, poller))
        self.calls: set[HttpCall] = set()
        self._base = url.path.rstrip("/")
        self._host = url.netloc.encode("ascii")
        self._agent = agent
        self._heads: dict[tuple[str, str], bytes] = {}

    def start(self, call: Call, sink: Sink) -> HttpCall:
        handle = HttpCall.__new__(HttpCall)
        handle.prepare(self, call, sink, self.clock.monotonic())
        self.calls.add(handle)
        self.pool.acquire(handle)
        return handle

    def sweep(self, now: float) -> None:
        """Enforces deadlines; called every 100 ms."""
        for call in list(self.calls):
            call.sweep(now)
        self.pool.sweep(now)

    async def close(self) -> None:
        for call in list(self.calls):
            call.cancel()
        await self.pool.close()

    def request_head(self, call: Call, body: bytes | None) -> bytes:
        """The request line and all fields, ending with the blank line; and the body, where it is small."""
        key = (call.method, call.path)
        fixed = self._heads.get(key)
        if fixed is None:
            fixed = self._heads[key] = self._fixed_head(call)
        if call.feed is None:
            return write_request(fixed, call.fields, -1 if call.body is None else len(call.body), body)
        if call.length is None:
            return write_request(fixed, call.fields + b"transfer-encoding: chunked\r\n", -1, None)
        return write_request(fixed, call.fields, call.length, None)

    def _fixed_head(self, call: Call) -> bytes:
        target = (self._base + call.path + self.spec.query).encode("ascii")
        lines = [
            call.method.encode("ascii") + b" " + target + b" HTTP/1.1",
            b"host: " + self._host,
            b"user-agent: " + self._agent,
            b"accept-encoding: identity",
        ]
        if self.spec.tier != "L2":
            lines.append(orca.ASK)  # a server of one's own may say how busy it is; providers need not know who asks
        if self.spec.api_key is not None:
            key = self.spec.api_key.encode("latin-1")
            if self.spec.auth != "authorization":
                lines.append(self.spec.auth.encode("ascii") + b": " + key)
            else:
                lines.append(b"authorization: Bearer " + key)
                if call.path.startswith("/messages"):
                    lines.append(b"x-api-key: " + key)
        return b"\r\n".join(lines) + b"\r\n"
