"""Our transports where memory, order or the loop would suffer: what one event does to the others of its batch, what is
written in pieces, what is left behind, and what would spin."""

import asyncio
import errno
import gc
import os
import socket
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from _native.transport import Poller, Transport
from tests.native.conftest import Noting, Peer, pair, turns

MANY = 300
"""More than one batch takes (256)."""
CORK = 16384


class Watched:
    """A loop that counts how often its poller is called."""

    def __init__(self) -> None:
        self.called = 0
        self._loop = asyncio.get_running_loop()
        self.call_soon = self._loop.call_soon
        self.call_exception_handler = self._loop.call_exception_handler
        self.remove_reader = self._loop.remove_reader

    def add_reader(self, fd: int, ready: Callable[[], None]) -> None:
        self._loop.add_reader(fd, self._count, ready)

    def _count(self, ready: Callable[[], None]) -> None:
        self.called += 1
        ready()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def all_lost(protocols: list[Noting]) -> None:
    """Each of them was told, once."""
    for protocol in protocols:
        await protocol.end()


def make_ready(links: list[tuple[Any, Noting, Peer]], data: bytes = b"!") -> None:
    """All of them have something to read before the loop looks again."""
    for _, _, peer in links:
        peer.channel.send(data)


# -- what one event does to others of its batch


@pytest.mark.parametrize("how", ["abort", "close"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_the_first_of_a_batch_ends_all_others(attach: Any, kind: str, how: str) -> None:
    links = [attach(kind, protocol=Noting(number)) for number in range(MANY)]
    served: list[object] = []

    def end_others(protocol: Noting) -> None:
        served.append(protocol.name)
        if len(served) == 1:
            for other, *_ in links:
                if other is not protocol.transport:
                    getattr(other, how)()

    for _, protocol, _ in links:
        protocol.on["data_received"] = lambda data, protocol=protocol: end_others(protocol)
    make_ready(links)
    await links[0][1].until(lambda: links[0][1].calls[1:] and (links[0][1].lost or served))
    await all_lost([protocol for _, protocol, _ in links if protocol.name not in served])
    assert len(served) == 1
    assert sum(len(protocol.lost) for _, protocol, _ in links) == MANY - 1


@pytest.mark.parametrize(
    "name", ["data_received", "eof_received", "connection_lost", "pause_writing", "resume_writing"]
)
async def test_any_callback_may_end_all_others(attach: Any, name: str) -> None:
    links = [attach("unix", small=True, protocol=Noting(number)) for number in range(20)]

    def end_all(*_: object) -> None:
        for number, (other, *_) in enumerate(links):
            if number % 2:
                other.abort()
            else:
                other.close()

    for transport, protocol, peer in links:
        protocol.on[name] = end_all
        transport.write(b"x" * 200_000 if name == "resume_writing" else b"")
        peer.channel.send(b"!")
    transport, _, peer = links[0]
    if name == "pause_writing":
        transport.write(b"x" * 200_000)
    elif name == "connection_lost":
        transport.abort()
    elif name == "eof_received":
        peer.channel.shutdown(socket.SHUT_WR)
    for _, protocol, peer in links:
        await peer.rest()
        await protocol.end()


async def test_hundreds_end_in_one_turn(poller: Poller, attach: Any) -> None:
    before = descriptors()
    links = [attach("unix") for _ in range(3 * MANY)]
    for _, _, peer in links:
        peer.channel.close()
    await all_lost([protocol for _, protocol, _ in links])
    assert [protocol.lost for _, protocol, _ in links] == [[None]] * 3 * MANY
    assert descriptors() == before


async def test_a_number_that_is_used_again_hears_nothing_of_the_last(poller: Poller, attach: Any) -> None:
    """Two are readable at once; the first ends the second, whose number a new one gets."""
    links = [attach("unix"), attach("unix")]
    seen: list[Noting] = []
    heirs: list[tuple[Any, Noting, Peer]] = []

    def end_other(number: int) -> None:
        if not seen:
            seen.append(links[1 - number][1])
            links[1 - number][0].abort()
            links[1 - number][1].on["connection_lost"] = lambda exc: heirs.append(attach("unix"))

    for number, (_, protocol, _) in enumerate(links):
        protocol.on["data_received"] = lambda data, number=number: end_other(number)
    numbers = os.listdir("/proc/self/fd")
    make_ready(links, b"old")
    await seen_by(seen)
    await turns(5)
    (_, heir, peer) = heirs[0]
    assert seen[0].lost == [None]
    assert not heir.data
    assert len(os.listdir("/proc/self/fd")) == len(numbers) + 1, "it has the number that became free, and its peer one"
    await peer.send(b"new")
    await heir.until(lambda: heir.data == b"new")
    assert not heir.lost


async def seen_by(seen: list[Noting]) -> None:
    async with asyncio.timeout(30):
        while not seen:
            await asyncio.sleep(0)
    await seen[0].end()


async def test_a_copy_of_the_descriptor_keeps_no_ghost() -> None:
    """As a child process has one between fork and exec: closing ours alone would leave epoll reporting freed memory."""
    loop = Watched()
    poller = Poller(loop)  # type: ignore[arg-type]  # all of a loop that it uses
    near, far = pair("unix")
    copy = os.dup(near.fileno())
    protocol = Noting()
    poller.attach(near.detach(), protocol).abort()
    await protocol.end()
    called = loop.called
    far.close()
    await turns(20)
    assert loop.called == called
    os.close(copy)
    poller.close()


# -- what is written while an event is served


async def test_what_one_event_writes_goes_out_in_one_piece(attach: Any) -> None:
    (transport, protocol, peer), (other, _, other_peer) = attach("packets"), attach("packets")
    sizes: list[int] = []

    def write(data: bytes) -> None:
        for piece in (b"head ", b"first ", b"chunk"):
            transport.write(piece)
            other.write(piece)
        sizes.append(transport.get_write_buffer_size())

    protocol.on["data_received"] = write
    transport.write(b"alone")
    transport.write(b"again")
    peer.channel.send(b"!")
    assert [await peer.some(), await peer.some()] == [b"alone", b"again"]
    assert [await peer.some(), await other_peer.some()] == [b"head first chunk"] * 2
    assert sizes == [16]
    assert transport.get_write_buffer_size() == 0


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        ([CORK], [CORK]),
        ([CORK + 1, 1], [CORK + 1, 1]),
        ([1, CORK - 1], [CORK]),
        ([1, CORK, 5, 6], [CORK + 1, 11]),
    ],
    ids=str,
)
async def test_no_more_is_kept_than_a_cork_holds(attach: Any, pieces: list[int], sent: list[int]) -> None:
    transport, protocol, peer = attach("packets")
    protocol.on["data_received"] = lambda data: [transport.write(bytes(size)) for size in pieces]
    peer.channel.send(b"!")
    assert [len(await peer.some()) for _ in sent] == sent


@pytest.mark.parametrize(
    ("how", "arrives"),
    [("close", b"answer"), ("write_eof", b"answer"), ("abort", b"")],
)
async def test_what_is_kept_is_flushed_by_all_but_abort(attach: Any, how: str, arrives: bytes) -> None:
    transport, protocol, peer = attach("unix")

    def answer(data: bytes) -> None:
        transport.write(b"answer")
        getattr(transport, how)()

    protocol.on["data_received"] = answer
    await peer.send(b"!")
    assert await peer.rest() == arrives


async def test_lines_come_behind_what_is_kept(attach: Any) -> None:
    transport, protocol, peer = attach("unix")

    def answer(data: bytes) -> None:
        transport.write(b"one ")
        transport.writelines([b"two ", b"", b"three "])
        transport.write(b"four")

    protocol.on["data_received"] = answer
    await peer.send(b"!")
    assert await peer.exactly(18) == b"one two three four"


async def test_what_a_pause_writes_to_another_is_not_kept_for_ever(attach: Any) -> None:
    """The pause comes as what was kept is sent, after the event."""
    (transport, protocol, peer), (other, _, other_peer) = attach("unix", small=True), attach("unix")
    transport.set_write_buffer_limits(high=0)
    protocol.on["data_received"] = lambda data: transport.write(bytes(CORK))
    protocol.on["pause_writing"] = lambda: other.write(b"held up")
    await peer.send(b"!")
    assert await other_peer.exactly(7) == b"held up"
    assert protocol.calls == ["connection_made", "data_received", "pause_writing"]


# -- what protocols raise


@pytest.mark.parametrize("name", ["connection_made", "pause_writing", "resume_writing"])
async def test_a_failing_protocol_spares_whoever_made_it_run(attach: Any, troubles: list[Any], name: str) -> None:
    (_, writer, peer), broken = attach("unix"), Noting()
    broken.on[name] = lambda *_: 1 // 0
    transport, _, broken_peer = attach("unix", small=True, protocol=broken)
    writer.on["data_received"] = lambda data: [transport.write(bytes(100_000)) for _ in range(3)]
    await peer.send(b"!")
    if name == "resume_writing":
        await broken.until(lambda: "pause_writing" in broken.calls)
        await broken_peer.rest()
    assert isinstance(await broken.end(), ZeroDivisionError)
    assert [type(trouble["exception"]) for trouble in troubles] == [ZeroDivisionError]
    assert not writer.lost
    await peer.send(b"?")
    await writer.until(lambda: writer.data == b"!?")


async def test_connection_lost_may_fail(attach: Any, troubles: list[Any]) -> None:
    links = [attach("unix") for _ in range(3)]
    for transport, protocol, _ in links:
        protocol.on["connection_lost"] = lambda exc: 1 // 0
        transport.abort()
    await all_lost([protocol for _, protocol, _ in links])
    assert len(troubles) == 3


async def test_a_connection_may_end_as_it_is_made(attach: Any) -> None:
    for how in ("close", "abort"):
        protocol = Noting()
        protocol.on["connection_made"] = lambda how=how, protocol=protocol: getattr(protocol.transport, how)()
        _, _, peer = attach("unix", protocol=protocol)
        assert await protocol.end() is None
        assert await peer.rest() == b""


# -- what is no socket, and what is left behind


async def test_what_cannot_be_watched_is_refused_and_closed(poller: Poller, tmp_path: Any) -> None:
    near, far = pair("unix")
    far.close()
    closed = near.fileno()
    near.close()
    with pytest.raises(OSError) as error:
        poller.attach(closed, Noting())
    assert error.value.errno == errno.EBADF
    before = descriptors()
    file = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    with pytest.raises(PermissionError):
        poller.attach(file, Noting())
    assert descriptors() == before


def test_only_a_poller_makes_transports() -> None:
    stray = Transport()
    stray.write(b"x")
    stray.close()
    stray.abort()
    assert stray.is_closing()
    with pytest.raises(TypeError):
        stray.write(None)  # type: ignore[arg-type]  # what must not crash
    with pytest.raises(TypeError):
        stray.writelines(None)  # type: ignore[arg-type]  # the same


async def test_nothing_is_left_behind(poller: Poller) -> None:
    """Neither descriptors nor objects, and no cycle that only the collector finds."""
    gc.collect()
    gc.disable()
    try:
        before = descriptors()
        gone: list[weakref.ref[Noting]] = []
        for number in range(50):
            near, far = pair("unix", small=True)
            protocol = Noting()
            transport = poller.attach(near.detach(), protocol)
            transport.write(bytes(300_000))
            if number % 3 == 0:
                transport.abort()
            elif number % 3 == 1:
                far.close()
            else:
                far.close()
                transport.close()
            await protocol.end()
            far.close()
            protocol.transport = None
            gone.append(weakref.ref(protocol))
        del protocol, transport, near, far
        await turns(3)
        assert not [each for each in gone if each() is not None]
        assert not [each for each in gc.get_objects() if isinstance(each, Transport)]
        assert descriptors() == before
    finally:
        gc.enable()


async def test_a_poller_closes_what_is_left_without_telling(attach: Any) -> None:
    before = descriptors()
    poller = Poller(asyncio.get_running_loop())
    protocols = [Noting(number) for number in range(5)]
    ends = [pair("unix", small=True) for _ in protocols]
    transports = [poller.attach(near.detach(), each) for each, (near, _) in zip(protocols, ends, strict=True)]
    transports[0].abort()
    transports[1].write(bytes(500_000))
    poller.close()
    poller.close()
    for transport in transports:
        transport.write(b"x")
        transport.pause_reading()
        transport.resume_reading()
        transport.write_eof()
        transport.close()
        transport.abort()
    for _, far in ends:
        far.close()
    await turns(3)
    assert [protocol.lost for protocol in protocols] == [[]] * 5
    assert descriptors() == before
    near, far = pair("unix")
    with pytest.raises(OSError):
        poller.attach(near.fileno(), Noting())
    near.close()
    far.close()


async def test_a_poller_may_be_closed_in_the_middle_of_a_batch() -> None:
    poller = Poller(asyncio.get_running_loop())
    protocols = [Noting(number) for number in range(MANY)]
    ends = [pair("unix") for _ in protocols]
    for protocol, (near, far) in zip(protocols, ends, strict=True):
        protocol.on["data_received"] = lambda data: poller.close()
        poller.attach(near.detach(), protocol)
        protocol.transport = None  # so that nothing but the poller keeps it
        far.send(b"!")
    await asyncio.sleep(0.01)
    assert sum(len(protocol.data) for protocol in protocols) == 1
    for _, far in ends:
        far.close()


# -- what would spin


@pytest.mark.parametrize("what", ["unread", "fin", "gone", "unread-and-gone", "half-closed"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_paused_connection_costs_no_turns(kind: str, what: str) -> None:
    loop = Watched()
    poller = Poller(loop)  # type: ignore[arg-type]  # all of a loop that it uses
    near, far = pair(kind)
    protocol = Noting()
    protocol.on["eof_received"] = lambda: True
    transport = poller.attach(near.detach(), protocol)
    transport.pause_reading()
    if what.startswith("unread"):
        far.send(b"unread")
    if what == "fin":
        far.shutdown(socket.SHUT_WR)
    if what == "half-closed":
        transport.write_eof()
    if what.endswith(("gone", "closed")):
        far.close()
    await asyncio.sleep(0.01)
    for _ in range(300):
        await asyncio.sleep(0)
    assert loop.called <= 3
    assert not protocol.lost
    transport.resume_reading()
    if what != "unread":
        await protocol.until(lambda: "eof_received" in protocol.calls)
    await protocol.until(lambda: bytes(protocol.data) == (b"unread" if what.startswith("unread") else b""))
    await asyncio.sleep(0.01)
    for _ in range(300):
        await asyncio.sleep(0)
    assert loop.called <= 8
    transport.abort()
    assert await protocol.end() is None
    far.close()
    poller.close()


async def test_a_reset_is_told_even_while_reading_is_paused() -> None:
    loop = Watched()
    poller = Poller(loop)  # type: ignore[arg-type]  # all of a loop that it uses
    near, far = pair("tcp")
    protocol = Noting()
    poller.attach(near.detach(), protocol).pause_reading()
    Peer(far).reset()
    assert isinstance(await protocol.end(), ConnectionResetError)
    await turns(50)
    assert loop.called <= 3
    poller.close()


async def test_a_backlog_costs_no_turns_while_nobody_reads() -> None:
    loop = Watched()
    poller = Poller(loop)  # type: ignore[arg-type]  # all of a loop that it uses
    near, far = pair("unix", small=True)
    protocol = Noting()
    transport = poller.attach(near.detach(), protocol)
    transport.write(bytes(1 << 20))
    transport.close()
    await turns(300)
    assert loop.called <= 1
    found = 0
    while data := await Peer(far).some():
        found += len(data)
    assert found == 1 << 20
    assert await protocol.end() is None
    far.close()
    poller.close()
