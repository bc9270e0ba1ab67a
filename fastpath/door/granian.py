"""The Granian door: HTTP/1.1, HTTP/2 and TLS by Granian (Rust), driven through its ASGI protocol objects.

No coroutine and no Task per request: Granian's scheduler hands us its protocol object and we call `receive` and `send`
on it directly. `send` completes at once while the caller keeps up (an empty awaitable) and returns a future when it
does not, which is our backpressure. That is why the version is pinned exactly and a stalled-reader test guards it.

Everything here runs on the worker's loop. A caller's departure is only told to whoever waits in `receive`; requests
that live longer than WATCH_AFTER are watched in batches, so short ones never pay for it.
"""

import asyncio
import contextvars
import os
import socket
from asyncio.tasks import _enter_task, _leave_task  # what Granian's own scheduler passes to its base class
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import granian._granian
from granian._granian import CallbackScheduler, WorkerSignal
from granian.http import HTTP1Settings

from _native.door import Exchange
from _native.relay import Sink, Source
from fastpath import errors
from fastpath.door.exchange import BodyReader, BodyTaker
from fastpath.door.proxy_protocol import ProxyFront
from fastpath.errors import GatewayError, Header
from fastpath.identity.client import ClientAddress
from fastpath.settings import Listen
from scheduler.clock import Clock

#: Larger lengths than any limit read as this one.
MOST_DECLARED = (1 << 63) - 1
#: A running request's caller is watched from this age on, s. Departure is then noticed within twice this time.
WATCH_AFTER = 0.02
#: Kernel send buffer per connection, bytes. With Granian's own buffer it bounds what a stalled reader can hold.
SEND_BUFFER = 128 * 1024
#: Granian's per-connection buffer, bytes; also bounds a request head, of which 64 KiB must fit.
HYPER_BUFFER = 128 * 1024

Message = dict[str, Any]

#: The classes whose shipped stubs describe an older release than the pinned one.
_rust: Any = granian._granian


class Scheduler(CallbackScheduler):
    """Hands every request to `begin` on the loop, as a plain callback."""

    __slots__ = ()

    def __init__(self, loop: asyncio.AbstractEventLoop, begin: Callable[[Any], None], *_: object) -> None:
        super().__init__()
        call_soon, context = loop.call_soon_threadsafe, contextvars.copy_context()

        def schedule(watcher: Any) -> None:
            # No result: Granian leaks whatever this returns (one Handle per request, measured).
            call_soon(begin, watcher, context=context)

        self._schedule_fn = schedule

    def cancel(self) -> bool:
        return False

    def cancelling(self) -> int:
        return 0

    def uncancel(self) -> int:
        return 0


class GranianDoor:
    """Serves one listening socket and begins an Exchange per request."""

    def __init__(self, begin: Callable[[Exchange], None], listen: Listen, clock: Clock) -> None:
        self._begin = begin
        self._listen = listen
        self.clock = clock
        self.context = contextvars.copy_context()
        self.reading: set[GranianExchange] = set()
        self._unwatched: list[GranianExchange] = []
        self._signal = WorkerSignal()
        self._stopped: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._front: ProxyFront | None = None

    async def start(self, listener: socket.socket, stall: float) -> None:
        """Accepts on `listener`. stall: seconds after which the kernel drops a caller that takes nothing."""
        loop = self._loop = asyncio.get_running_loop()
        if self._listen.proxy_protocol:
            self._front = ProxyFront(ClientAddress(self._listen.trusted_proxies).trusts)
            await self._front.start(listener)
            listener = self._front.inner
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if listener.family != socket.AF_UNIX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
        stopped = self._stopped = loop.create_future()

        def settle() -> None:
            if not stopped.done():
                stopped.set_result(None)

        self._signal.add_cb(lambda: loop.call_soon_threadsafe(settle))
        worker = self._make_worker(listener)
        scheduler = Scheduler(loop, self._on_request, None, partial(_enter_task, loop), partial(_leave_task, loop))
        serve = worker.serve_async_uds if listener.family == socket.AF_UNIX else worker.serve_async
        serve(scheduler, loop, self._signal)

    def stop_accepting(self) -> None:
        """Closes the listener's accept loop and idle connections; running requests go on."""
        if self._front is not None:
            self._front.stop_accepting()
        self._signal.set()

    @property
    def expecting(self) -> bool:
        """Whether some caller has not sent all of its request."""
        return bool(self.reading)

    def close(self) -> None:
        """Cuts what is still open."""
        if self._front is not None:
            self._front.close()

    async def stopped(self) -> None:
        """Returns once every connection has ended."""
        if self._stopped is not None:
            await asyncio.wait((self._stopped,))  # a caller that gives up must not cancel it for the next one

    def sweep(self, now: float) -> None:
        """Ends request bodies that stopped arriving; called every 100 ms."""
        for exchange in list(self.reading):
            exchange.sweep(now)

    def watch(self, exchange: "GranianExchange") -> None:
        """Asks to be told when this exchange's caller leaves."""
        if not self._unwatched:
            assert self._loop is not None
            self._loop.call_later(WATCH_AFTER, self._watch_batch)
        self._unwatched.append(exchange)

    def _watch_batch(self) -> None:
        batch, self._unwatched = self._unwatched, []
        for exchange in batch:
            exchange.watch_caller()

    def peer(self, client: tuple[str, str]) -> str:
        """The address of a connection's other end; behind a ProxyFront, what the PROXY header said."""
        if self._front is None:
            return client[0]
        return self._front.addresses.get(int(client[1]), "")

    def _on_request(self, watcher: Any) -> None:
        self._begin(GranianExchange(self, watcher))

    def _make_worker(self, listener: socket.socket) -> Any:
        # Granian closes the descriptor it is given; the listener stays its owner's.
        holder = _rust.SocketHolder(os.dup(listener.fileno()), listener.family == socket.AF_UNIX, self._listen.backlog)
        tls = self._listen.tls
        certificate = (True, tls.cert, tls.key, None) if tls else (False, None, None, None)
        return _rust.ASGIWorker(
            1,
            (None, holder),
            None,
            1,  # runtime threads: one, the work is ours
            1,
            1,
            30,
            self._listen.max_connections,
            "auto" if tls else "1",
            HTTP1Settings(max_buffer_size=HYPER_BUFFER),
            None,
            False,
            None,
            *certificate,
            "tls1.3",
            None,
            [],
            False,
            (None, None),
        )


class GranianExchange(Exchange):
    """One request on Granian's protocol object."""

    __slots__ = (
        "_body",
        "_declared",
        "_done",
        "_door",
        "_heard",
        "_limit",
        "_over",
        "_patience",
        "_paused",
        "_protocol",
        "_reader",
        "_received",
        "_refused",
        "_rest_read",
        "_sink",
        "_watcher",
        "headers",
    )  # fmt: skip

    def __init__(self, door: GranianDoor, watcher: Any) -> None:
        scope = watcher.scope
        self.method = scope["method"]
        self.path = scope["raw_path"].decode("latin-1")
        self.query = scope["query_string"]
        self.headers: list[Header] = scope["headers"]
        self.fields = dict(self.headers)
        self.repeated = len(self.fields) != len(self.headers)
        declared = self.fields.get(b"content-length")
        self.declared_length = min(int(declared), MOST_DECLARED) if declared is not None and declared.isdigit() else 0
        self.peer = door.peer(scope["client"]) if scope["client"] else ""
        self.on_left = None
        self._door = door
        self._watcher: Any = watcher
        self._protocol: Any = watcher.proto
        self._sink: GranianSink | None = None
        self._over = False
        self._paused = False
        self._rest_read = False
        self._reader: BodyReader | None = None
        self._body: list[bytes] = []
        self._received = 0
        self._limit = 0
        self._declared = -1
        self._heard = 0.0
        self._patience = 0.0
        self._done: Callable[[bytes], None] | None = None
        self._refused: Callable[[GatewayError | None], None] | None = None

    # -- the request

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field == name]

    def read(self, limit: int, seconds: float, taker: BodyTaker) -> None:
        self._done, self._refused = taker.on_body, taker.on_refused
        self._start_reading(limit, seconds)

    def read_pieces(self, limit: int, seconds: float, reader: BodyReader) -> Source:
        self._reader, self._refused = reader, reader.on_refused
        self._start_reading(limit, seconds)
        return BodySource(self)

    def _start_reading(self, limit: int, seconds: float) -> None:
        self._limit, self._patience = limit, seconds
        if b"content-length" in self.fields:
            self._declared = self.declared_length
        self._heard = self._door.clock.monotonic()
        self._door.reading.add(self)
        self._receive(self._on_body)

    def _receive(self, then: Callable[[Any], None]) -> None:
        self._protocol.receive().add_done_callback(then, context=self._door.context)

    def _on_body(self, future: Any) -> None:
        if self._over or self not in self._door.reading:
            return
        message: Message = future.result()
        if message["type"] != "http.request":
            self._refuse(None)
            return
        data, more = message["body"], message["more_body"]
        self._received += len(data)
        if self._received > self._limit:
            self._refuse(errors.too_large(self._limit))
            return
        self._heard = self._door.clock.monotonic()
        self._rest_read = not more
        last = not more or self._received == self._declared
        if last:
            self._door.reading.discard(self)
        self._take(data, last)
        if last:
            if not self._over:
                self._door.watch(self)
        elif not self._paused and not self._over:
            self._receive(self._on_body)

    def _take(self, data: bytes, last: bool) -> None:
        if self._reader is not None:
            self._reader.on_piece(data, last)
            return
        if last and not self._body:
            body = data
        else:
            self._body.append(data)
            if not last:
                return
            body = b"".join(self._body)
            self._body.clear()
        assert self._done is not None
        self._done(body)

    def pause_body(self) -> None:
        self._paused = True

    def resume_body(self) -> None:
        if self._paused:
            self._paused = False
            self._heard = self._door.clock.monotonic()
            if self in self._door.reading:
                self._receive(self._on_body)

    def _refuse(self, error: GatewayError | None) -> None:
        self._door.reading.discard(self)
        refused, self._refused = self._refused, None
        if refused is not None:
            refused(error)
        if error is None:
            self._end()

    def sweep(self, now: float) -> None:
        if not self._paused and now - self._heard > self._patience:
            self._refuse(errors.slow_body())

    # -- the caller's departure

    def watch_caller(self) -> None:
        if not self._over:
            self._receive(self._on_rest)

    def _on_rest(self, future: Any) -> None:
        """After the body: one empty message may still come, then only the disconnect."""
        if self._over:
            return
        message: Message = future.result()
        if message["type"] == "http.request" and not self._rest_read:
            self._rest_read = not message["more_body"]
            self._receive(self._on_rest)
            return
        left, self.on_left = self.on_left, None
        self._end()
        if left is not None:
            left()

    # -- the answer

    def reply(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        if self._over:
            return
        self.send({"type": "http.response.start", "status": status, "headers": list(headers)})
        self.send({"type": "http.response.body", "body": body, "more_body": False})
        self._end()

    def stream(self, status: int, headers: Sequence[Header], source: Source) -> Sink:
        sink = self._sink = GranianSink(self, source, self._door)
        if not self._over:
            self.send({"type": "http.response.start", "status": status, "headers": list(headers)})
        return sink

    def send(self, message: Message) -> Any:
        """The future to wait for before the next message, None when the next may follow at once."""
        result = self._protocol.send(message)
        return result if hasattr(result, "add_done_callback") else None

    @property
    def over(self) -> bool:
        return self._over

    def end(self) -> None:
        self._end()

    @property
    def buffered(self) -> int:
        return self._sink.buffered if self._sink is not None else 0

    @property
    def stalled_since(self) -> float | None:
        return self._sink.stalled_since if self._sink is not None else None

    def abort(self) -> None:
        self._end()

    def _end(self) -> None:
        """Granian is told; references that form cycles are dropped, because its objects cannot be collected."""
        if not self._over:
            self._over = True
            self._door.reading.discard(self)
            self._watcher.done()
            self._watcher = self._protocol = self._reader = self._done = self._refused = self.on_left = None
            self._sink = None


class BodySource(Source):
    """Pauses and resumes the reading of one request body."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: GranianExchange) -> None:
        self._exchange = exchange

    def pause(self) -> None:
        self._exchange.pause_body()

    def resume(self) -> None:
        self._exchange.resume_body()

    def cancel(self) -> None:
        self._exchange.pause_body()


class GranianSink(Sink):
    """A streamed answer. At most one message waits inside Granian; what comes meanwhile is held here."""

    __slots__ = ("_door", "_exchange", "_finishing", "_held", "_source", "buffered", "stalled_since")

    def __init__(self, exchange: GranianExchange, source: Source, door: GranianDoor) -> None:
        self._exchange = exchange
        self._source = source
        self._door = door
        self._held: list[bytes] = []
        self._finishing = False
        self.buffered = 0
        self.stalled_since: float | None = None

    def write(self, data: bytes) -> None:
        if self._exchange.over:
            return
        if self.stalled_since is not None:
            self._held.append(data)
            self.buffered += len(data)
            return
        waiting = self._exchange.send({"type": "http.response.body", "body": data, "more_body": True})
        if waiting is not None:
            self.stalled_since = self._door.clock.monotonic()
            self._source.pause()
            waiting.add_done_callback(self._on_taken, context=self._door.context)

    def finish(self) -> None:
        if self.stalled_since is not None:
            self._finishing = True
        elif not self._exchange.over:
            self._exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
            self._exchange.end()

    def fail(self, error: object) -> None:
        """A declared length that is not reached makes Granian cut the connection."""
        self._held.clear()
        self.finish()

    def _on_taken(self, _: Any) -> None:
        self.stalled_since = None
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self.buffered = 0
            self.write(data)
        if self.stalled_since is None:
            if self._finishing:
                self.finish()
            else:
                self._source.resume()
