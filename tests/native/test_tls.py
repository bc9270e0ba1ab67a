"""What TLS owes its protocol: one suite for ours and the loop's own, on both loops, against a server's end by hand."""

import asyncio
import os
import random
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from _native.tls import Secure
from _native.transport import Poller
from tests.native.conftest import Noting, Peer, pair, turns
from tests.native.far import NAME, Connect, Far, House

BLOCK = os.urandom(2 << 20)
RECORD = 16384


@pytest.fixture(scope="session")
def house() -> House:
    return House()


@pytest.fixture
async def connect(whose: str, poller: Poller, house: House) -> AsyncIterator[Connect]:
    """`await connect(small=False, context=None, protocol=None)`: an open TLS connection and both its ends."""
    made: list[tuple[Any, Peer]] = []

    async def begin(
        small: bool = False, context: ssl.SSLContext | None = None, protocol: Noting | None = None
    ) -> tuple[Any, Noting, Far]:
        near, channel = pair("tcp", small)
        noting = protocol or Noting()
        far = Far(Peer(channel), context or house.server)
        loop = asyncio.get_running_loop()
        if whose == "ours":
            established = loop.create_future()
            secure: Any = Secure(house.client, NAME, noting, established)
            poller.attach(near.detach(), secure)
            await asyncio.gather(far.shake(), established)
        else:
            opening = loop.create_connection(lambda: noting, sock=near, ssl=house.client, server_hostname=NAME)
            await asyncio.gather(far.shake(), opening)
        made.append((noting.transport, far.peer))
        return noting.transport, noting, far

    yield begin
    for transport, peer in made:
        if not transport.is_closing():  # once is all that asyncio of Python 3.11.2 takes
            transport.abort()
        peer.channel.close()
    await turns(3)


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest, house: House) -> ssl.SSLContext:
    """A server's side that speaks this version alone."""
    context = house.context(NAME)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[request.param]
    return context


async def test_both_ways(connect: Connect, version: ssl.SSLContext) -> None:
    transport, protocol, far = await connect(context=version)
    transport.write(b"question")
    assert await far.hear(8) == b"question"
    await far.peer.send(far.seal(b"answer"))
    await protocol.until(lambda: protocol.data == b"answer")
    transport.writelines([b"one", b"", b"two"])
    assert await far.hear(6) == b"onetwo"
    assert protocol.calls == ["connection_made", "data_received"]


async def test_byte_by_byte(connect: Connect, version: ssl.SSLContext) -> None:
    """The handshake is cut as well: see test_a_handshake_byte_by_byte."""
    _, protocol, far = await connect(context=version)
    for byte in far.seal(b"hello") + far.seal(b"world"):
        await far.peer.send(bytes([byte]))
        await turns(2)
    await protocol.until(lambda: protocol.data == b"helloworld")


@pytest.mark.parametrize("piece", [1, 100, RECORD - 1, RECORD])
async def test_many_records(connect: Connect, piece: int) -> None:
    _, protocol, far = await connect()
    size = min(len(BLOCK), 2_000 * piece)
    await far.peer.send(far.seal(BLOCK[:size], piece))
    await protocol.until(lambda: len(protocol.data) == size)
    assert protocol.data == BLOCK[:size]


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 1 << 20])
async def test_what_is_written_arrives(connect: Connect, version: ssl.SSLContext, size: int) -> None:
    transport, protocol, far = await connect(small=True, context=version)
    transport.write(BLOCK[:size])
    transport.writelines([b"head", BLOCK[:size]])
    assert await far.hear(2 * size + 4) == BLOCK[:size] + b"head" + BLOCK[:size]
    assert protocol.calls.count("pause_writing") == protocol.calls.count("resume_writing")


async def test_a_reader_who_pauses_leaves_it_to_the_kernel(connect: Connect) -> None:
    """Nothing is delivered, and the sender comes to a stop: what TLS holds is bounded."""
    transport, protocol, far = await connect()
    transport.pause_reading()
    assert not transport.is_reading()
    far.peer.channel.setblocking(False)
    sealed = far.seal(BLOCK * 8)
    sent = 0
    try:
        while sent < len(sealed):
            sent += far.peer.channel.send(sealed[sent:])
            await asyncio.sleep(0)
    except BlockingIOError:
        pass
    assert sent < len(sealed)
    assert not protocol.data
    transport.resume_reading()
    assert transport.is_reading()
    await far.peer.send(sealed[sent:])
    await protocol.until(lambda: len(protocol.data) == len(BLOCK) * 8)
    assert protocol.data == BLOCK * 8


async def test_pauses_and_resumes_alternate(connect: Connect) -> None:
    transport, protocol, far = await connect(small=True)
    transport.set_write_buffer_limits(high=100_000, low=20_000)
    for _ in range(3):
        told = len(protocol.calls)
        while "pause_writing" not in protocol.calls[told:]:
            transport.write(BLOCK[:9_000])
        assert transport.get_write_buffer_size() >= 100_000
        while "resume_writing" not in protocol.calls[told:]:
            await far.hear(1)
            far.heard.clear()
    assert [call for call in protocol.calls if "writing" in call] == ["pause_writing", "resume_writing"] * 3


async def test_their_close_notify_is_an_end_in_good_order(connect: Connect, version: ssl.SSLContext) -> None:
    """Ours follows, and nothing is waited for."""
    transport, protocol, far = await connect(context=version)
    await far.peer.send(far.seal(b"last words") + far.part())
    assert await protocol.end() is None
    assert protocol.data == b"last words"
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"]
    assert transport.is_closing()
    await far.hear_out()
    assert far.parted


async def test_close_says_close_notify_after_what_was_written(connect: Connect) -> None:
    transport, protocol, far = await connect(small=True)
    transport.write(BLOCK[:700_000])
    transport.close()
    transport.close()
    assert transport.is_closing()
    heard = asyncio.ensure_future(far.hear(700_000))
    assert await heard == BLOCK[:700_000]
    await far.peer.send(far.part())
    await far.hear_out()
    assert far.parted
    assert await protocol.end() is None


async def test_abort_is_told_once(connect: Connect) -> None:
    transport, protocol, far = await connect(small=True)
    transport.write(BLOCK)
    transport.abort()
    transport.abort()
    transport.close()
    assert not protocol.lost, "inside the call that aborted it"
    assert await protocol.end() is None
    assert len(await far.peer.rest()) < len(BLOCK)
    assert transport.is_closing()


async def test_a_reset_is_an_error(connect: Connect) -> None:
    _, protocol, far = await connect()
    far.peer.reset()
    assert isinstance(await protocol.end(), ConnectionError)
    assert "eof_received" not in protocol.calls


async def test_a_record_that_was_changed_on_the_way_is_an_error(connect: Connect, version: ssl.SSLContext) -> None:
    _, protocol, far = await connect(context=version)
    await far.peer.send(far.seal(b"genuine"))
    await protocol.until(lambda: protocol.data == b"genuine")
    forged = bytearray(far.seal(b"changed"))
    forged[-1] ^= 1
    await far.peer.send(bytes(forged) + far.seal(b"after"))
    reason = await protocol.end()
    assert isinstance(reason, ssl.SSLError)
    assert "BAD_RECORD" in str(reason) or "DECRYPTION_FAILED" in str(reason)
    assert protocol.data == b"genuine"


CUTS = st.lists(st.sampled_from([1, 2, 5, 21, 100, 5_000, 40_000, 200_000]), min_size=1, max_size=30)
SIZES = st.lists(st.sampled_from([1, 30, 210, RECORD - 1, RECORD, RECORD + 1, 50_000]), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sizes=SIZES, cuts=CUTS, seed=st.integers(0, 1000))
async def test_wherever_the_stream_is_cut(connect: Connect, sizes: list[int], cuts: list[int], seed: int) -> None:
    """Reads end inside records, headers and messages, and between them."""
    dice = random.Random(seed)
    transport, protocol, far = await connect()
    said = [BLOCK[dice.randrange(1 << 20) :][:size] for size in sizes]
    sealed, at, turn = b"".join(far.seal(one) for one in said), 0, 0
    while at < len(sealed):
        size = cuts[turn % len(cuts)]
        await far.peer.send(sealed[at : at + size])
        at, turn = at + size, turn + 1
        await turns(dice.randrange(3))
    whole = b"".join(said)
    await protocol.until(lambda: len(protocol.data) == len(whole))
    assert protocol.data == whole
    for one in said:
        transport.write(one)
    assert await far.hear(len(whole)) == whole


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
async def test_a_failing_callback_ends_its_connection(
    connect: Connect, troubles: list[Any], whose: str, name: str
) -> None:
    if whose != "ours":
        pytest.skip("the loop's own keeps the connection after some")
    _, protocol, far = await connect()
    protocol.on[name] = lambda *_: 1 // 0
    await far.peer.send(far.seal(b"x") + far.part())
    assert isinstance(await protocol.end(), ZeroDivisionError)
    assert [type(trouble["exception"]) for trouble in troubles] == [ZeroDivisionError]


@pytest.mark.parametrize("data", ["text", 7, None])
async def test_only_bytes_are_written(connect: Connect, data: Any) -> None:
    transport, _, far = await connect()
    with pytest.raises(TypeError):
        transport.write(data)
    transport.write(b"well")
    assert await far.hear(4) == b"well"
    assert not transport.can_write_eof()
