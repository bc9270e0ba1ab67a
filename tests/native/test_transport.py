"""What a transport owes its protocol: one suite for ours and the loop's own, on both loops, TCP and Unix sockets."""

import asyncio
import os
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from _native.transport import Poller

PATIENCE = 30.0
BLOCK = os.urandom(4 << 20)
#: Around what is kept for one send (16 KiB), and more than any buffer holds.
SIZES = st.sampled_from([0, 1, 7, 1000, 16383, 16384, 16385, 65536, 200_000, 1 << 20])
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "writelines", "inside"]), st.lists(SIZES, min_size=1, max_size=4)), max_size=6
)


# -- writing


class Writer(asyncio.Protocol):
    """Writes what `steps` say, at once or while it serves what the other end sent, and remembers it."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.inside: list[list[int]] = []
        self.served = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for size in self.inside.pop(0):
            self.transport.write(self.piece(size))
        self.served.set()

    def piece(self, size: int) -> bytes:
        start = len(self.sent) % (len(BLOCK) - size)
        piece = BLOCK[start : start + size]
        self.sent += piece
        return piece

    async def carry_out(self, steps: list[tuple[str, list[int]]], far: socket.socket) -> None:
        for how, sizes in steps:
            if how == "writelines":
                self.transport.writelines([self.piece(size) for size in sizes])
            elif how == "write":
                for size in sizes:
                    self.transport.write(self.piece(size))
            else:
                self.inside.append(sizes)
                self.served.clear()
                far.send(b"!")
                await self.served.wait()
        self.transport.close()


async def read_slowly(far: socket.socket, dice: random.Random) -> bytes:
    """Everything, in pieces of any size, with turns of the loop in between."""
    loop, found = asyncio.get_running_loop(), bytearray()
    while data := await loop.sock_recv(far, dice.choice([100, 5_000, 60_000, 300_000])):
        found += data
        if dice.random() < 0.3:
            await asyncio.sleep(0)
    return bytes(found)


async def exchange(ours: bool, small: bool, steps: list[tuple[str, list[int]]], seed: int) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if small:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    loop, writer = asyncio.get_running_loop(), Writer()
    poller = Poller(loop)
    if ours:
        poller.attach(near.detach(), writer)
    else:
        await loop.connect_accepted_socket(lambda: writer, near)
    with far:
        async with asyncio.timeout(PATIENCE):
            found, _ = await asyncio.gather(read_slowly(far, random.Random(seed)), writer.carry_out(steps, far))
    poller.close()
    assert found == bytes(writer.sent)


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "the-loops"])
@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, small=st.booleans(), seed=st.integers(0, 1000))
def test_all_that_is_written_arrives_in_order(
    factory: Callable[[], asyncio.AbstractEventLoop],
    ours: bool,
    steps: list[tuple[str, list[int]]],
    small: bool,
    seed: int,
) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(exchange(ours, small, steps, seed))


async def test_pauses_and_resumes_alternate_at_the_limits(link: Any) -> None:
    transport, protocol, peer = await link(small=True)
    transport.set_write_buffer_limits(high=100_000, low=20_000)
    sizes: list[tuple[str, int]] = []
    for name in ("pause_writing", "resume_writing"):
        protocol.on[name] = lambda name=name: sizes.append((name, transport.get_write_buffer_size()))
    sent = 0
    for _ in range(3):
        while len(sizes) % 2 == 0:
            transport.write(BLOCK[:9_000])
            sent += 9_000
        transport.write(BLOCK[:50_000])  # says nothing twice
        sent += 50_000
        while len(sizes) % 2 == 1:
            sent -= len(await peer.some(8_000))
    assert [name for name, _ in sizes] == ["pause_writing", "resume_writing"] * 3
    for name, size in sizes:
        assert size > 100_000 if name == "pause_writing" else size <= 20_000, (name, size)
    await peer.exactly(sent)
    assert transport.get_write_buffer_size() == 0


@pytest.mark.parametrize(
    ("limits", "pauses"),
    [
        ({}, True),
        ({"high": 1 << 20}, False),
        ({"low": 1 << 19}, False),  # the high one is four times that then
        ({"high": 0}, True),
        ({"high": 1 << 20, "low": 1 << 20}, False),
    ],
    ids=str,
)
async def test_limits_take_effect_at_once(link: Any, limits: dict[str, int], pauses: bool) -> None:
    transport, protocol, _ = await link(small=True)
    transport.set_write_buffer_limits(high=4 << 20)
    transport.write(BLOCK[: 1 << 19])
    assert "pause_writing" not in protocol.calls
    assert 1 << 18 < transport.get_write_buffer_size() < 1 << 19
    transport.set_write_buffer_limits(**limits)
    assert ("pause_writing" in protocol.calls) == pauses


@pytest.mark.parametrize("limits", [{"high": 1, "low": 2}, {"high": -1}, {"low": -1}], ids=str)
async def test_limits_must_make_sense(link: Any, limits: dict[str, int]) -> None:
    transport, _, _ = await link()
    with pytest.raises(ValueError):
        transport.set_write_buffer_limits(**limits)


@pytest.mark.parametrize("data", ["text", 7])
async def test_only_bytes_are_written(link: Any, data: Any) -> None:
    transport, _, peer = await link()
    with pytest.raises(TypeError):
        transport.write(data)
    transport.write(b"well")
    assert await peer.exactly(4) == b"well"


async def test_the_writing_side_ends_and_reading_goes_on(link: Any) -> None:
    transport, protocol, peer = await link(small=True)
    protocol.on["eof_received"] = lambda: True
    transport.write(BLOCK[:500_000])
    assert transport.can_write_eof()
    transport.write_eof()
    transport.write_eof()
    with pytest.raises(RuntimeError, match="write_eof"):
        transport.write(b"more")
    assert await peer.rest() == BLOCK[:500_000]
    await peer.send(b"heard")
    await protocol.until(lambda: protocol.data == b"heard")
    peer.channel.shutdown(socket.SHUT_WR)
    await protocol.until(lambda: "eof_received" in protocol.calls)
    transport.close()
    assert await protocol.end() is None


# -- reading


async def test_nothing_is_delivered_while_reading_is_paused(link: Any) -> None:
    transport, protocol, peer = await link()
    await peer.send(b"one")
    await protocol.until(lambda: protocol.data == b"one")
    assert transport.is_reading()
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    await peer.send(b"two")
    await asyncio.sleep(0.02)
    assert protocol.data == b"one"
    transport.resume_reading()
    transport.resume_reading()
    await protocol.until(lambda: protocol.data == b"onetwo")
    assert not protocol.lost


async def test_pausing_inside_a_callback_holds_the_rest_back(link: Any) -> None:
    transport, protocol, peer = await link()
    protocol.on["data_received"] = lambda data: transport.pause_reading()
    sending = asyncio.ensure_future(peer.send(BLOCK[: 1 << 20]))
    await protocol.until(lambda: protocol.data)
    taken = len(protocol.data)
    await asyncio.sleep(0.02)
    assert len(protocol.data) == taken < 1 << 20
    del protocol.on["data_received"]
    transport.resume_reading()
    await protocol.until(lambda: len(protocol.data) == 1 << 20)
    await sending
    assert protocol.data == BLOCK[: 1 << 20]


async def test_what_came_before_the_end_is_delivered_when_reading_goes_on(link: Any) -> None:
    transport, protocol, peer = await link()
    transport.pause_reading()
    await peer.send(b"last words")
    peer.channel.close()
    await asyncio.sleep(0.02)
    assert protocol.calls == ["connection_made"]
    transport.resume_reading()
    assert await protocol.end() is None
    assert protocol.data == b"last words"
    assert protocol.calls.count("eof_received") == 1


# -- ends


async def test_the_end_of_reading_flushes_what_waits(link: Any) -> None:
    transport, protocol, peer = await link(small=True)
    transport.write(BLOCK[:700_000])
    peer.channel.shutdown(socket.SHUT_WR)
    await protocol.until(lambda: "eof_received" in protocol.calls)
    assert not protocol.lost
    assert await peer.rest() == BLOCK[:700_000]
    assert await protocol.end() is None


async def test_close_flushes_and_is_told_once(link: Any) -> None:
    transport, protocol, peer = await link(small=True)
    transport.write(BLOCK[:700_000])
    transport.close()
    transport.close()
    assert transport.is_closing()
    assert await peer.rest() == BLOCK[:700_000]
    assert await protocol.end() is None


@pytest.mark.parametrize("closed_first", [False, True])
async def test_abort_drops_what_waits_and_is_told_once(link: Any, closed_first: bool) -> None:
    transport, protocol, peer = await link(small=True)
    transport.write(BLOCK)
    if closed_first:
        transport.close()
    transport.abort()
    transport.abort()
    transport.close()
    assert transport.is_closing()
    assert not protocol.lost, "inside the call that aborted it"
    assert await protocol.end() is None
    assert transport.get_write_buffer_size() == 0
    assert len(await peer.rest()) < len(BLOCK)


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_what_is_written_afterwards_is_dropped(link: Any, whose: str, how: str) -> None:
    transport, protocol, peer = await link()
    transport.write(b"before")
    getattr(transport, how)()
    transport.write(b"after")
    transport.writelines([b"after", b"after"])
    assert await protocol.end() is None
    if whose == "ours":  # uvloop raises
        for late in (b"late", BLOCK):
            transport.write(late)
        transport.pause_reading()
        transport.resume_reading()
        transport.write_eof()
        assert not transport.is_reading()
    transport.close()
    transport.abort()
    assert await peer.rest() == b"before"
    assert len(protocol.lost) == 1


@pytest.mark.parametrize("kind", ["tcp"])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_reset_is_told_once_as_an_error(link: Any, waits: bool) -> None:
    transport, protocol, peer = await link(small=True)
    if waits:
        transport.write(BLOCK)
    peer.reset()
    assert isinstance(await protocol.end(), ConnectionError)
    assert transport.is_closing()


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
async def test_a_failing_callback_costs_its_own_connection_alone(link: Any, troubles: list[Any], name: str) -> None:
    (_, broken, peer), (other, well, well_peer) = await link(), await link()
    broken.on[name] = lambda *_: 1 // 0
    await peer.send(b"x")
    if name == "eof_received":
        peer.channel.shutdown(socket.SHUT_WR)
    assert isinstance(await broken.end(), ZeroDivisionError)
    assert [type(trouble["exception"]) for trouble in troubles] == [ZeroDivisionError]
    other.write(b"fine")
    await well_peer.send(b"too")
    assert await well_peer.exactly(4) == b"fine"
    await well.until(lambda: well.data == b"too")


@pytest.mark.parametrize("kind", ["tcp"])
async def test_the_other_end_has_a_name(link: Any, whose: str, poller: Poller) -> None:
    transport, _, _ = await link()
    assert transport.get_extra_info("nothing", 7) == 7
    assert transport.get_extra_info("nothing") is None
    if whose == "ours":
        near, far = socket.socketpair()
        assert poller.attach(near.detach(), asyncio.Protocol(), ("10.0.0.1", 7)).get_extra_info("peername") == (
            "10.0.0.1",
            7,
        )
        far.close()
