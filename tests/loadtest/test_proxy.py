"""Each rule seen on the wire, on asyncio's loop and on uvloop."""

import asyncio
import hashlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from loadtest.faultd import (
    AnyRule,
    Bandwidth,
    Corrupt,
    Cut,
    Duplicate,
    FaultProxy,
    Latency,
    Refuse,
    ResetOnAccept,
    Slice,
    SlowClose,
)
from scheduler.clock import SystemClock

ANSWER = b"HTTP/1.1 200 OK\r\n\r\ndata: a\n\ndata: b\n\ndata: c\n\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def read_until_reset(reader: asyncio.StreamReader) -> bytes:
    """What came before a reset. Fails when the end was orderly."""
    data = b""
    while True:
        try:
            more = await reader.read(65536)
        except ConnectionResetError:
            return data
        assert more, "FIN instead of RST"
        data += more


async def test_without_rules_bytes_pass_unchanged_and_are_logged(bench: Any) -> None:
    bench.target.answer = ANSWER * 5000
    started = time.time()
    assert await bench.ask(b"hello") == bench.target.answer
    record = await bench.logged.get()
    assert (record.id, record.closed_by, record.ended, record.applied) == (1, "target", "fin", [])
    assert (record.up.received, record.up.forwarded) == (5, 5)
    assert record.up.sha256_received == record.up.sha256_forwarded == sha256(b"hello")
    assert (record.down.received, record.down.forwarded) == (len(bench.target.answer),) * 2
    assert record.down.sha256_forwarded == sha256(bench.target.answer)
    assert started - 1 < record.opened <= record.closed < started + 30
    assert bench.proxy.connections == [record]


async def test_client_leaving_reaches_the_target(bench: Any) -> None:
    bench.target.hold, bench.target.answer = True, b"x"
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await reader.read(1) == b"x"
    writer.close()
    assert await bench.target.done.get() == b"hello"
    assert (await bench.logged.get()).closed_by == "client"


async def test_client_reset_resets_the_target(bench: Any) -> None:
    bench.target.hold, bench.target.answer = True, b"x"
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await reader.read(1) == b"x"
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    await bench.target.done.get()
    record = await bench.logged.get()
    assert (record.closed_by, record.ended) == ("client", "rst")
    assert isinstance(bench.target.errors[0], ConnectionResetError)


async def test_latency_delays_each_way(bench: Any) -> None:
    bench.target.answer = ANSWER
    bench.proxy.set_rules([Latency(mean_ms=40, direction="up"), Latency(mean_ms=60)])
    started = time.monotonic()
    assert await bench.ask() == ANSWER
    assert 0.1 <= time.monotonic() - started < 5
    assert (await bench.logged.get()).applied == ["latency"]


@pytest.mark.alone
async def test_latency_is_a_delay_line_not_a_throttle(bench: Any) -> None:
    bench.target.answer = b"x" * 160_000
    bench.proxy.set_rules([Latency(mean_ms=100)])
    started = time.monotonic()
    assert len(await bench.ask()) == 160_000
    assert 0.1 <= time.monotonic() - started < 0.9


async def test_bandwidth_paces(bench: Any) -> None:
    bench.target.answer = b"x" * 20_000
    bench.proxy.set_rules([Bandwidth(bytes_per_s=100_000)])
    started = time.monotonic()
    assert len(await bench.ask()) == 20_000
    assert 0.19 <= time.monotonic() - started < 5


async def test_slices_arrive_one_by_one(bench: Any) -> None:
    bench.target.answer = "data: Zürich 水\n\n".encode()
    bench.proxy.set_rules([Slice(size=1, delay_ms=3)])
    reader, writer = await bench.connect()
    writer.write(b"hello")
    pieces = [piece async for piece in _reads(reader)]
    writer.close()
    assert b"".join(pieces) == bench.target.answer
    assert len(pieces) > 0.6 * len(bench.target.answer)


async def _reads(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(65536):
        yield piece


@pytest.mark.parametrize("hold", [True, False])
async def test_cut_by_fin_ends_in_order(bench: Any, hold: bool) -> None:
    bench.target.answer, bench.target.hold = ANSWER, hold
    bench.proxy.set_rules([Cut(after_bytes=25)])
    assert await bench.ask() == ANSWER[:25]
    record = await bench.logged.get()
    assert (record.ended, record.applied, record.down.forwarded) == ("fin", ["cut"], 25)
    assert record.down.sha256_forwarded == sha256(ANSWER[:25])


async def test_cut_by_rst_after_events(bench: Any) -> None:
    bench.target.answer, bench.target.hold = ANSWER, True
    bench.proxy.set_rules([Cut(after_events=2, how="rst")])
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await read_until_reset(reader) == ANSWER[: ANSWER.index(b"data: c")]
    writer.close()
    await bench.target.done.get()
    record = await bench.logged.get()
    assert (record.closed_by, record.ended) == ("proxy", "rst")


async def test_cut_by_rst_delivers_all_bytes_before_it(bench: Any) -> None:
    """To a reader whose window is small and who is late, so that the bytes wait in the proxy's kernel buffer."""
    bench.target.answer, bench.target.hold = b"x" * 60_000, True
    bench.proxy.set_rules([Cut(after_bytes=50_000, how="rst")])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", bench.port))
        await loop.sock_sendall(sock, b"hello")
        await _until(lambda: bench.proxy.connections and bench.proxy.connections[0].down.forwarded == 50_000)
        assert await _count_until_reset(sock) == 50_000


async def _count_until_reset(sock: socket.socket) -> int:
    count = 0
    while True:
        try:
            data = await asyncio.get_running_loop().sock_recv(sock, 65536)
        except ConnectionResetError:
            return count
        assert data, "FIN instead of RST"
        count += len(data)


async def test_cut_before_headers(bench: Any) -> None:
    bench.target.answer = ANSWER
    bench.proxy.set_rules([Cut(before_headers=True, how="rst")])
    with pytest.raises(ConnectionResetError):
        await bench.ask()
    assert bench.target.received == [b"hello"]


async def test_cut_of_the_request(bench: Any) -> None:
    bench.target.hold = True
    bench.proxy.set_rules([Cut(direction="up", after_bytes=3)])
    assert await bench.ask(b"hello") == b""
    assert await bench.target.done.get() == b"hel"


async def test_stall_keeps_the_connection_open_until_the_client_leaves(bench: Any) -> None:
    bench.target.answer, bench.target.hold = ANSWER, True
    bench.proxy.set_rules([Cut(after_bytes=10, how="stall")])
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await reader.readexactly(10) == ANSWER[:10]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    assert bench.proxy.open == 1
    writer.close()
    record = await bench.logged.get()
    assert (record.closed_by, record.down.forwarded) == ("client", 10)
    await bench.target.done.get()


async def test_stalled_direction_holds_back_the_sender(bench: Any) -> None:
    bench.target.answer, bench.target.hold = b"x" * 20_000_000, True
    bench.proxy.set_rules([Cut(after_bytes=1, how="stall")])
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await reader.readexactly(1) == b"x"
    await _settled(lambda: bench.proxy.connections[0].down.received)
    assert bench.proxy.connections[0].down.received <= 18 * 16 * 1024
    writer.close()


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def _settled(value: Callable[[], int]) -> None:
    """Returns once `value` did not move for five looks, 10 ms apart."""
    seen, same = value(), 0
    while same < 5:
        await asyncio.sleep(0.01)
        same = same + 1 if value() == seen else 0
        seen = value()


async def test_reset_on_accept_hits_the_chosen_connection(bench: Any) -> None:
    bench.target.answer = ANSWER
    bench.proxy.set_rules([ResetOnAccept(connections=(2,))])
    assert await bench.ask() == ANSWER
    with pytest.raises(ConnectionResetError):
        await bench.ask()
    assert await bench.ask() == ANSWER
    records = {(record := await bench.logged.get()).id: record for _ in range(3)}
    assert [records[number].ended for number in (1, 2, 3)] == ["fin", "rst", "fin"]
    assert records[2].applied == ["reset_on_accept"]
    assert len(bench.target.received) == 2


async def test_refuse_closes_the_port_and_lifting_it_opens_the_same(bench: Any) -> None:
    bench.target.answer, bench.target.hold = ANSWER, True
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await reader.readexactly(len(ANSWER)) == ANSWER
    bench.proxy.set_rules([Refuse()])
    bench.proxy.set_rules([Refuse()])
    with pytest.raises(ConnectionRefusedError):
        await bench.connect()
    assert bench.proxy.open == 1
    bench.proxy.set_rules([])
    bench.target.hold = False
    assert await bench.ask() == ANSWER
    writer.close()


async def test_slow_close_withholds_the_fin(bench: Any) -> None:
    bench.target.answer = ANSWER
    bench.proxy.set_rules([SlowClose(delay_ms=150)])
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await reader.readexactly(len(ANSWER)) == ANSWER
    started = time.monotonic()
    assert await reader.read() == b""
    assert 0.12 <= time.monotonic() - started < 5
    writer.close()
    assert (await bench.logged.get()).applied == ["slow_close"]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (Corrupt(offset=9, byte=0x35), ANSWER[:9] + b"5" + ANSWER[10:]),
        (Duplicate(offset=19, length=9), ANSWER[:28] + ANSWER[19:28] + ANSWER[28:]),
    ],
)
async def test_bytes_are_changed(bench: Any, rule: AnyRule, wanted: bytes) -> None:
    bench.target.answer = ANSWER
    bench.proxy.set_rules([rule])
    assert await bench.ask() == wanted
    record = await bench.logged.get()
    assert record.down.sha256_received == sha256(ANSWER)
    assert record.down.sha256_forwarded == sha256(wanted)


async def test_drop_resets_open_connections(bench: Any) -> None:
    bench.target.answer, bench.target.hold = ANSWER, True
    reader, writer = await bench.connect()
    writer.write(b"hello")
    await reader.readexactly(len(ANSWER))
    assert bench.proxy.drop("rst") == 1
    assert await read_until_reset(reader) == b""
    writer.close()
    assert (await bench.logged.get()).closed_by == "proxy"
    assert bench.proxy.drop("rst") == 0


async def test_drop_by_stall_freezes_both_ways(bench: Any) -> None:
    bench.target.hold = True
    reader, writer = await bench.connect()
    writer.write(b"one")
    await _until(lambda: bench.proxy.connections and bench.proxy.connections[0].up.forwarded == 3)
    bench.proxy.drop("stall")
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    assert bench.proxy.connections[0].up.forwarded == 3
    writer.close()


async def test_unreachable_target_resets_the_client() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        proxy = FaultProxy(sock.getsockname(), SystemClock())
        port = await proxy.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await read_until_reset(reader) == b""
        writer.close()
        assert proxy.connections[0].ended == "unreachable"
        await proxy.close()


async def test_close_logs_what_was_still_open(bench: Any) -> None:
    bench.target.hold = True
    _, writer = await bench.connect()
    writer.write(b"hello")
    await _until(lambda: bench.proxy.connections and bench.proxy.connections[0].up.forwarded == 5)
    await bench.proxy.close()
    record = bench.logged.get_nowait()
    assert record.closed is None
    assert record.up.sha256_forwarded == sha256(b"hello")
    assert bench.proxy.open == 0
    writer.close()
