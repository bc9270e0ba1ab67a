"""One call on the wire: what is sent, deadlines, cancelling, early and interim answers, uploads."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from _native.relay import Relay, Sink, StreamFilter
from backends.base import Cause, Moment

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FRAME = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DEADLINES = {"connect": 1.0, "first_byte": 20.0, "idle": 10.0, "total": 60.0}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def asked(line: Any, server: Any) -> tuple[Any, Any, Any]:
    """A call whose request has arrived: its handle, its taker, the peer."""
    handle, taker = line.call()
    peer = await server.peer(len(server.peers))
    await peer.request()
    return handle, taker, peer


class Feed:
    """An upload under the test's control."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.call: Any = None
        self.paused = False
        self._changed = changed

    def start(self, call: Any) -> None:
        self.call = call
        self._changed()

    def pause(self) -> None:
        self.paused = True
        self._changed()

    def resume(self) -> None:
        self.paused = False
        self._changed()


# -- the request


async def test_the_request_on_the_wire(line: Any, server: Any) -> None:
    one = line(api_key="sk-up")
    one.call(b'{"a":1}')
    data = await (await server.peer()).request()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert first == b"POST /v1/chat/completions HTTP/1.1"
    assert sorted(fields) == sorted(
        [
            b"host: 127.0.0.1:%d" % server.port,
            b"user-agent: fastpath",
            b"accept-encoding: identity",
            b"authorization: Bearer sk-up",
            b"content-length: 7",
        ]
    )
    assert body == b'{"a":1}'


async def test_interim_answers_are_skipped(line: Any, server: Any) -> None:
    _, taker, peer = await asked(line(), server)
    peer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK)
    assert await taker.end() is None
    assert (taker.status, taker.body) == (200, b"{}")


async def test_garbage_is_a_protocol_error(line: Any, server: Any) -> None:
    _, taker, peer = await asked(line(), server)
    peer.write(b"SSH-2.0-OpenSSH_9\r\n")
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.PROTOCOL, Moment.HEAD)
    await peer.gone()


async def test_an_answer_that_stops_short(line: Any, server: Any) -> None:
    _, taker, peer = await asked(line(), server)
    peer.write(OK[:-1])
    peer.transport.close()
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.DISCONNECTED, Moment.BODY)


async def test_an_answer_that_ends_with_the_connection(line: Any, server: Any) -> None:
    _, taker, peer = await asked(line(), server)
    peer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
    peer.transport.close()
    assert await taker.end() is None
    assert taker.body == b"abc"


# -- deadlines


async def test_the_first_byte_is_waited_for(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    _, taker, peer = await asked(one, server)
    one.pass_time(19.9)
    peer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20")
    one.pass_time(0.05)
    assert not taker.ends
    one.pass_time(0.1)
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.FIRST_BYTE_TIMEOUT, Moment.HEAD)
    await peer.gone()


async def test_silence_inside_an_answer(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    _, taker, peer = await asked(one, server)
    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    await taker.news.until(lambda: taker.status)
    for _ in range(3):
        size = len(taker.body)
        peer.write(b"x")
        await taker.news.until(lambda size=size: len(taker.body) > size)
        one.pass_time(9.9)
    assert not taker.ends
    one.pass_time(10.1)
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.IDLE_TIMEOUT, Moment.BODY)
    await peer.gone()


async def test_a_slow_reader_is_not_the_servers_silence(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    handle, taker, peer = await asked(one, server)
    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx")
    await taker.news.until(lambda: taker.body)
    one.pass_time(0.1)
    handle.pause()
    one.pass_time(30)
    assert not taker.ends
    handle.resume()
    one.pass_time(9.9)
    assert not taker.ends
    one.pass_time(0.2)
    assert (await taker.end()).cause is Cause.IDLE_TIMEOUT


async def test_all_in_all(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    _, taker, peer = await asked(one, server)
    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    await taker.news.until(lambda: taker.status)
    for _ in range(6):
        size = len(taker.body)
        peer.write(b"x")
        await taker.news.until(lambda size=size: len(taker.body) > size)
        one.pass_time(9.9)
    assert not taker.ends
    one.pass_time(0.7)
    assert (await taker.end()).cause is Cause.TOTAL_TIMEOUT


async def test_a_replaced_connection_does_not_start_the_time_again(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES | {"first_byte": 50.0, "pool_idle": 100.0})
    await one.exchange()
    _, taker = one.call()
    await server.peers[0].request()
    one.pass_time(40)
    server.peers[0].transport.abort()
    await (await server.peer(1)).request()
    one.pass_time(20.1)
    assert (await taker.end()).cause is Cause.TOTAL_TIMEOUT


class Owner:
    """Takes an event stream the way an attempt does."""

    def __init__(self, handle: Any, taker: Any) -> None:
        self._taker = taker
        self.stream = StreamFilter("chat")
        handle.watch(self.stream)

    def open(self) -> Any:
        return self._taker

    def ended(self, stream: Any) -> None:
        raise AssertionError(stream.broken)

    def failed(self, error: Any) -> None:
        raise error


async def streaming(one: Any, server: Any) -> tuple[Any, Any]:
    """A call whose event stream has begun: its taker, the peer."""
    handle, taker = one.call()

    def take_body() -> Relay:
        owner = Owner(handle, taker)
        return Relay(owner.stream, owner)

    taker.take_body = take_body
    peer = await server.peer(len(server.peers))
    await peer.request()
    peer.write(EVENTS)
    await taker.news.until(lambda: taker.status)
    return taker, peer


async def seen(one: Any, arrived: int) -> None:
    """Waits until this many bytes of the only running call's answer were read."""
    (call,) = one.backend.calls
    async with asyncio.timeout(30):
        while call._connection.received < arrived:
            await asyncio.sleep(0)


async def test_events_are_progress(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    taker, peer = await streaming(one, server)
    for count in range(1, 4):
        peer.write(chunk(FRAME))
        await taker.news.until(lambda count=count: taker.body == FRAME * count)
        one.pass_time(9.9)
        assert not taker.ends


@pytest.mark.parametrize("cut", [None, 1, 5], ids=["whole", "byte-by-byte", "in-pieces"])
async def test_comments_are_no_progress(line: Any, server: Any, cut: int | None) -> None:
    """Also when sweeps see them half there."""
    one = line(deadlines=DEADLINES)
    taker, peer = await streaming(one, server)
    peer.write(chunk(FRAME))
    await taker.news.until(lambda: taker.body)
    one.pass_time(0.1)
    arrived, comment = len(EVENTS + chunk(FRAME)), b": keep-alive\n\n" * 3
    pieces = [comment[i : i + (cut or 42)] for i in range(0, len(comment), cut or 42)]
    for piece in pieces * 10:
        peer.write(chunk(piece))
        arrived += len(chunk(piece))
        await seen(one, arrived)
        one.pass_time(30 / (10 * len(pieces)))
        if taker.ends:
            break
    assert (await taker.end()).cause is Cause.IDLE_TIMEOUT


async def test_a_large_event_that_arrives_slowly_is_progress(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    taker, peer = await streaming(one, server)
    arrived = len(EVENTS)
    for piece in (FRAME, b'data: {"choices":[],"a":"', b"x" * 50, b"y" * 50, b'"}\n\n'):
        peer.write(chunk(piece))
        arrived += len(chunk(piece))
        await seen(one, arrived)
        one.pass_time(9.9)
        assert not taker.ends


async def test_the_first_event_is_the_first_byte_of_a_stream(line: Any, server: Any) -> None:
    """Many servers send the head at once and the first token after minutes of prefill."""
    one = line(deadlines=DEADLINES)
    taker, peer = await streaming(one, server)
    one.pass_time(19.9)
    assert not taker.ends
    peer.write(chunk(FRAME))
    await taker.news.until(lambda: taker.body)
    one.pass_time(9.9)
    one.pass_time(9.9)
    assert not taker.ends
    one.pass_time(0.2)
    assert (await taker.end()).cause is Cause.IDLE_TIMEOUT


async def test_no_first_event_in_time(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    taker, peer = await streaming(one, server)
    peer.write(chunk(b": working\n\n"))
    one.pass_time(20.1)
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.FIRST_BYTE_TIMEOUT, Moment.BODY)
    await peer.gone()


async def test_a_delivered_answer_may_end_its_framing_but_not_for_long(line: Any, server: Any) -> None:
    one = line(deadlines=DEADLINES)
    handle, taker, peer = await asked(one, server)
    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
    await taker.news.until(lambda: taker.body)
    handle.linger()
    one.pass_time(0.9)
    peer.write(b"cd")
    assert await taker.end() is None
    _, taker = one.call()
    await peer.request()
    assert len(server.peers) == 1, "the connection was kept"
    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
    await taker.news.until(lambda: taker.body)
    next(iter(one.backend.calls)).linger()
    one.pass_time(1.1)
    await peer.gone()
    assert taker.ends == [], "whoever has his answer hears no failure"
    assert not one.backend.calls


# -- cancelling


@pytest.mark.parametrize("phase", ["connecting", "waiting", "sent", "answering", "paused"])
async def test_cancelling_closes_the_socket_and_is_silent(line: Any, server: Any, phase: str) -> None:
    one = line("model.test", max_connections=1)
    one.names.answers["model.test"] = ["127.0.0.1"]
    if phase == "connecting":
        one.names.gate = asyncio.Event()
        handle, taker = one.call()
        handle.cancel()
        one.names.gate.set()
        peer = await server.peer()
        assert not peer.received
        await one.exchange()
    elif phase == "waiting":
        one.call()
        handle, taker = one.call()
        handle.cancel()
    else:
        handle, taker, peer = await asked(one, server)
        if phase != "sent":
            peer.write(OK[:-1])
            await taker.news.until(lambda: taker.body)
        if phase == "paused":
            handle.pause()
            peer.write(b"}")
        handle.cancel()
        await peer.gone()
        assert one.pool.open == 0
        await one.exchange(1)
    handle.cancel()
    assert taker.ends == []


async def test_closing_the_backend_cancels_all(line: Any, server: Any) -> None:
    one = line(max_connections=2)
    takers = [one.call()[1] for _ in range(3)]
    peers = [await server.peer(number) for number in range(2)]
    for peer in peers:
        await peer.request()
    await one.backend.close()
    for peer in peers:
        await peer.gone()
    assert [taker.ends for taker in takers] == [[], [], []]


# -- backpressure


async def test_a_paused_answer_stays_in_the_socket(line: Any, server: Any) -> None:
    one = line()
    handle, taker, peer = await asked(one, server)
    size = 16 << 20
    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
    await taker.news.until(lambda: taker.status)
    handle.pause()
    peer.write(b"x" * size)
    for _ in range(200):
        await asyncio.sleep(0)
    held = len(taker.body)
    assert held < 1 << 20
    handle.resume()
    assert await taker.end() is None
    assert len(taker.body) == size


async def test_a_connection_paused_at_its_end_is_resumed_for_the_next(line: Any, server: Any) -> None:
    one = line()
    handle, taker, peer = await asked(one, server)
    write = taker.write

    def write_and_pause(data: bytes) -> None:
        write(data)
        handle.pause()

    taker.take_body = lambda: Pausing(write_and_pause, taker)
    peer.write(OK)
    assert await taker.end() is None
    await one.exchange()


class Pausing(Sink):
    """Calls a function for each piece."""

    def __init__(self, write: Callable[[bytes], None], taker: Any) -> None:
        self._write = write
        self._taker = taker

    def write(self, data: bytes) -> None:
        self._write(data)

    def finish(self) -> None:
        self._taker.finish()


# -- answers that come before the request is out


async def test_an_early_answer_to_a_body_that_is_still_sent(line: Any, server: Any) -> None:
    """The connection still carries the rest of that request: it must not carry another one."""
    one = line(max_connections=1)
    server.greeting = lambda peer: peer.transport.pause_reading()
    _, taker = one.call(b"x" * (32 << 20))
    peer = await server.peer()
    peer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
    assert await taker.end() is None
    assert taker.status == 413
    server.greeting = None
    await one.exchange(1)


async def test_an_early_answer_to_an_upload(line: Any, server: Any) -> None:
    one = line()
    feed = Feed(server.changed)
    _, taker = one.call(None, feed=feed, length=1000)
    await server.until(lambda: feed.call)
    feed.call.send(b"a" * 10, last=False)
    peer = await server.peer()
    await peer.request()
    peer.write(OK)
    assert await taker.end() is None
    feed.call.send(b"b" * 990, last=True)
    await peer.gone()
    assert b"b" not in peer.received
    await one.exchange(1)


# -- uploads


@pytest.mark.parametrize("length", [6, None], ids=["declared", "chunked"])
async def test_an_upload_arrives_as_it_is_fed(line: Any, server: Any, length: int | None) -> None:
    one = line()
    feed = Feed(server.changed)
    _, taker = one.call(None, feed=feed, length=length)
    await server.until(lambda: feed.call)
    for piece in (b"abc", b"", b"def"):
        feed.call.send(piece, last=False)
    feed.call.send(b"", last=True)
    peer = await server.peer()
    sent = b"abcdef" if length else b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    await server.until(lambda: peer.received.endswith(sent))
    framing = b"content-length: 6" if length else b"transfer-encoding: chunked"
    assert framing in peer.received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    peer.write(OK)
    assert await taker.end() is None
    await one.exchange()
    assert len(server.peers) == 1, "a whole upload leaves its connection usable"


async def test_an_upload_is_held_back_by_its_server(line: Any, server: Any) -> None:
    one = line()
    feed = Feed(server.changed)
    server.greeting = lambda peer: peer.transport.pause_reading()
    _, taker = one.call(None, feed=feed, length=32 << 20)
    await server.until(lambda: feed.call)
    feed.call.send(b"x" * (32 << 20), last=True)
    assert feed.paused
    peer = await server.peer()
    peer.transport.resume_reading()
    await server.until(lambda: not feed.paused)
    await server.until(lambda: len(peer.received) >= 32 << 20)
    peer.write(OK)
    assert await taker.end() is None


async def test_an_upload_is_never_sent_twice(line: Any, server: Any) -> None:
    one = line()
    await one.exchange()
    feed = Feed(server.changed)
    _, taker = one.call(None, feed=feed, length=10)
    await server.until(lambda: feed.call)
    feed.call.send(b"abc", last=False)
    peer = server.peers[0]
    await peer.request()
    peer.transport.abort()
    assert (await taker.end()).cause is Cause.DISCONNECTED
    assert len(server.peers) == 1
