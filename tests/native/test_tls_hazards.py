"""Our TLS where trust, memory or the loop would suffer: handshakes that fail, ends that anyone can forge, what TLS says
at any time, and what is left behind."""

import asyncio
import gc
import os
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from _native.tls import Secure
from _native.transport import Poller
from backends.http.connector import make_context
from tests.native.conftest import Noting, Peer, pair, turns
from tests.native.far import NAME, Far, House, Program

RECORD = 16384


@pytest.fixture(scope="session")
def house() -> House:
    return House()


Begun = tuple[Secure, Noting, Peer, "asyncio.Future[None]"]


@pytest.fixture
async def begin(poller: Poller, house: House) -> AsyncIterator[Callable[..., Begun]]:
    """`begin(name, small=False)`: a handshake that has begun, and a plain socket at the other end."""
    peers: list[Peer] = []

    def attach(name: str = NAME, small: bool = False, context: Any = None) -> Begun:
        near, channel = pair("tcp", small)
        peers.append(Peer(channel))
        protocol, established = Noting(), asyncio.get_running_loop().create_future()
        secure = Secure(context or house.client, name, protocol, established)
        poller.attach(near.detach(), secure)
        return secure, protocol, peers[-1], established

    yield attach
    for peer in peers:
        peer.channel.close()
    await turns(3)


async def opened(begun: Begun, house: House, context: ssl.SSLContext | None = None) -> tuple[Secure, Noting, Far]:
    secure, protocol, peer, established = begun
    far = Far(peer, context or house.server)
    await asyncio.gather(far.shake(), established)
    return secure, protocol, far


# -- handshakes


BAD: dict[str, tuple[Callable[[House], ssl.SSLContext], str, str]] = {
    "expired": (House.expired, NAME, "certificate has expired"),
    "wrong-name": (lambda house: house.context("other.test"), NAME, "Hostname mismatch"),
    "wrong-address": (lambda house: house.server, "127.0.0.1", "IP address mismatch"),
    "unknown": (lambda house: House().server, NAME, "unable to get local issuer certificate"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_certificate_that_is_not_theirs(begin: Any, house: House, kind: str) -> None:
    """The server is told, and the protocol never hears of the connection."""
    make, name, words = BAD[kind]
    _, protocol, peer, established = begin(name)
    far = Far(peer, make(house))
    told, refused = await asyncio.gather(far.shake(), established, return_exceptions=True)
    assert isinstance(refused, ssl.SSLCertVerificationError)
    assert words in str(refused)
    assert isinstance(told, ssl.SSLError)
    assert "alert" in str(told).lower()
    assert protocol.calls == []


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03\x00", bytes(70_000)])
async def test_no_tls_at_all(begin: Any, answer: bytes) -> None:
    _, protocol, peer, established = begin()
    await peer.send(answer)
    peer.channel.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError) as error:
        await established
    assert isinstance(error.value, ssl.SSLError if len(answer) > 5 else ConnectionResetError)
    assert protocol.calls == []
    assert (await peer.rest()).startswith(b"\x16\x03"), "a handshake, and nothing in the clear"


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("after", [0, 50])
async def test_the_connection_ends_in_the_handshake(begin: Any, house: House, how: str, after: int) -> None:
    _, protocol, peer, established = begin()
    hello = await peer.some()
    far = Far(peer, house.server)
    far.incoming.write(hello)
    with pytest.raises(ssl.SSLWantReadError):
        far.session.do_handshake()
    await peer.send(far.outgoing.read()[:after])
    await turns(3)
    if how == "fin":
        peer.channel.close()
    else:
        peer.reset()
    with pytest.raises(ConnectionResetError):
        await established
    assert protocol.calls == []


async def test_a_handshake_that_stalls_is_given_up(begin: Any) -> None:
    secure, protocol, peer, established = begin()
    assert (await peer.some()).startswith(b"\x16\x03")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await established
    assert secure.is_closing()
    secure.write(b"in the clear?")
    secure.writelines([b"in the clear?"])
    secure.close()
    secure.abort()
    assert await peer.rest() == b""
    assert protocol.calls == []


async def test_a_handshake_byte_by_byte(begin: Any, house: House) -> None:
    _, protocol, peer, established = begin()
    far = Far(peer, house.server)
    await asyncio.gather(far.shake(cut=True), established)
    await peer.send(far.seal(b"there"))
    await protocol.until(lambda: protocol.data == b"there")


async def test_an_answer_in_the_flight_of_the_handshake(begin: Any, house: House) -> None:
    """A server need not wait for our Finished. The protocol hears of the connection first."""
    _, protocol, peer, established = begin()
    far = Far(peer, house.context(NAME))
    far.incoming.write(await peer.some())
    with pytest.raises(ssl.SSLWantReadError):
        far.session.do_handshake()
    await peer.send(far.outgoing.read())
    await established
    far.incoming.write(await peer.some())
    far.session.do_handshake()
    tickets = far.outgoing.read()
    await peer.send(tickets + far.seal(b"at once") + far.part())
    assert await protocol.end() is None
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.data == b"at once"


def test_a_name_that_is_none(house: House) -> None:
    with pytest.raises(ValueError):
        Secure(house.client, ".", asyncio.Protocol(), None)  # type: ignore[arg-type]  # not reached
    with pytest.raises(TypeError):
        Secure(house.client, None, asyncio.Protocol(), None)  # type: ignore[arg-type]  # what would switch the check off


# -- ends


@pytest.mark.parametrize("said", [b"", b"half an answer"])
async def test_an_end_without_close_notify_is_no_end(begin: Any, house: House, said: bytes) -> None:
    """A FIN is not authenticated: anyone on the way can cut an answer short with it."""
    secure, protocol, far = await opened(begin(), house)
    await far.peer.send(far.seal(said))
    far.peer.channel.shutdown(socket.SHUT_WR)
    reason = await protocol.end()
    assert isinstance(reason, ConnectionAbortedError)
    assert "close_notify" in str(reason)
    assert protocol.data == said
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"], "so that a pool does not hand it out"
    assert secure.is_closing()


async def test_a_record_cut_in_two_is_no_end(begin: Any, house: House) -> None:
    _, protocol, far = await opened(begin(), house)
    await far.peer.send(far.seal(b"never whole")[:-1])
    far.peer.channel.shutdown(socket.SHUT_WR)
    assert isinstance(await protocol.end(), ConnectionAbortedError)
    assert protocol.data == b""


async def test_whatever_follows_close_notify_is_nothing(begin: Any, house: House) -> None:
    secure, protocol, far = await opened(begin(small=True), house)
    secure.write(bytes(1 << 20))
    await far.peer.send(far.seal(b"done") + far.part() + b"anything")
    await protocol.until(lambda: "eof_received" in protocol.calls)
    far.peer.reset()
    assert await protocol.end() is None, "they said that they were done"
    assert protocol.data == b"done"


async def test_their_alert_is_an_error(begin: Any, house: House) -> None:
    """As of a server that does not like our certificate, or whose memory is full."""
    _, protocol, far = await opened(begin(), house)
    far.incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError):
        far.session.read(1)
    await far.peer.send(far.outgoing.read())
    assert isinstance(await protocol.end(), ssl.SSLError)


async def test_they_are_told_of_a_forged_record(begin: Any, house: House) -> None:
    _, protocol, far = await opened(begin(), house)
    await far.peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert isinstance(await protocol.end(), ssl.SSLError)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert bad record mac"):
        await far.hear_out()


# -- what TLS says at any time


@pytest.fixture
def program(tmp_path: Path, house: House) -> Iterator[Callable[..., Program]]:
    made: list[Program] = []

    def start(*flags: str) -> Program:
        made.append(Program(tmp_path, house, *flags))
        return made[-1]

    yield start
    for one in made:
        one.end()


async def reach(program: Program, poller: Poller, house: House) -> tuple[Secure, Noting]:
    """Connects to it, as a model server is connected to."""
    context = make_context(None)
    house.authority.configure_trust(context)
    channel = socket.create_connection(("127.0.0.1", await program.port()))
    channel.setblocking(False)
    protocol, established = Noting(), asyncio.get_running_loop().create_future()
    secure = Secure(context, NAME, protocol, established)
    poller.attach(channel.detach(), secure)
    await established
    return secure, protocol


@pytest.mark.parametrize("word", ["k", "K"])
async def test_keys_are_updated(program: Any, poller: Poller, house: House, word: str) -> None:
    """K asks for an update of ours as well."""
    server = program("-tls1_3", "-msg")
    secure, protocol = await reach(server, poller, house)
    for number in range(3):
        server.type(word)
        await server.until(b"KeyUpdate")
        server.type(f"line {number}")
        await protocol.until(lambda number=number: f"line {number}\n".encode() in protocol.data)
        secure.write(b"heard %d\n" % number)
        await server.until(b"heard %d" % number)
    assert not protocol.lost
    secure.close()
    assert await protocol.end() is None


async def test_another_handshake_is_refused(program: Any, poller: Poller, house: House) -> None:
    """TLS 1.2 lets a server ask for one in the middle of an answer. OpenSSL's ends the connection when it gets none."""
    server = program("-tls1_2", "-msg")
    secure, protocol = await reach(server, poller, house)
    secure.write(b"question\n")
    await server.until(b"question")
    server.type("r")
    await server.until(b"no_renegotiation")
    assert isinstance(await protocol.end(), ssl.SSLError)


class Chatty:
    """A context whose TLS answers every read with so many bytes, and never has plaintext."""

    def __init__(self, size: int) -> None:
        self._size = size

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **_: object) -> "Chatty":
        self._incoming, self._outgoing = incoming, outgoing
        return self

    def do_handshake(self) -> None:
        """There is none."""

    def read(self, size: int, buffer: bytearray) -> int:
        self._incoming.read()
        self._outgoing.write(bytes(self._size))
        raise ssl.SSLWantReadError

    def write(self, data: bytes) -> int:
        return self._outgoing.write(data)


async def test_a_peer_that_asks_and_does_not_read_is_not_listened_to(begin: Any) -> None:
    """Key updates that ask for one are answered, each of them: the answers would fill our memory."""
    secure, protocol, peer, established = begin(small=True, context=Chatty(30_000))
    await established
    asked = 0
    for _ in range(200):
        try:
            asked += peer.channel.send(bytes(1000))
        except BlockingIOError:
            break
        await turns(3)
    assert secure.get_write_buffer_size() < 200_000
    assert not secure.is_reading()
    assert "pause_writing" in protocol.calls
    secure.pause_reading()
    secure.resume_reading()
    assert not secure.is_reading(), "they still do not read"
    secure.pause_reading()
    while "resume_writing" not in protocol.calls:
        await peer.some(1 << 20)
    assert not secure.is_reading(), "the protocol does not want to"
    secure.resume_reading()
    assert secure.is_reading()
    await peer.send(b"more")
    await peer.some()


# -- one read, one delivery


async def test_what_one_read_held_is_delivered_at_once(begin: Any, house: House) -> None:
    _, protocol, far = await opened(begin(), house)
    await turns(3)
    await far.peer.send(b"".join(far.seal(b"data: %d\n\n" % number) for number in range(100)))
    await protocol.until(lambda: protocol.data.endswith(b"data: 99\n\n"))
    assert protocol.calls.count("data_received") == 1


async def test_what_was_written_together_is_sent_together(poller: Poller, house: House) -> None:
    """While one event is served: the head of a request and its small body."""
    near, channel = pair("packets")
    protocol, established = Noting(), asyncio.get_running_loop().create_future()
    secure = Secure(house.client, NAME, protocol, established)
    poller.attach(near.detach(), secure)
    _, _, far = await opened((secure, protocol, Peer(channel), established), house)
    protocol.on["data_received"] = lambda data: [secure.write(bytes([letter])) for letter in data]
    await far.peer.send(far.seal(b"echo"))
    far.incoming.write(await far.peer.some())
    assert far.session.read(1) + far.session.read(1) + far.session.read(1) + far.session.read(1) == b"echo"
    secure.abort()
    channel.close()


# -- what is left behind


async def test_nothing_is_left_behind(poller: Poller, house: House) -> None:
    """Neither descriptors nor objects, and no cycle that only the collector finds."""
    await turns(3)
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        gone: list[weakref.ref[Noting]] = []
        for number in range(12):
            near, channel = pair("tcp")
            protocol, established = Noting(), asyncio.get_running_loop().create_future()
            secure = Secure(house.client, NAME, protocol, established)
            poller.attach(near.detach(), secure)
            gone.append(weakref.ref(protocol))
            far = Far(Peer(channel), house.server)
            if number % 4:
                await asyncio.gather(far.shake(), established)
            if number % 4 == 1:
                await far.peer.send(far.part())
            elif number % 4 == 2:
                secure.close()
            else:
                secure.abort()
            if number % 4:
                await protocol.end()
            else:
                established.cancel()
                await turns(3)
            channel.close()
            protocol.transport = None
        del protocol, secure, far, established, near, channel
        await turns(3)
        assert not [each for each in gone if each() is not None]
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


async def test_without_a_transport_it_does_nothing(house: House) -> None:
    stray = Secure(house.client, NAME, asyncio.Protocol(), asyncio.get_running_loop().create_future())
    stray.write(b"x")
    stray.writelines([b"x"])
    stray.close()
    stray.abort()
    assert stray.is_closing()
    with pytest.raises(RuntimeError):
        stray.data_received(b"x")
    with pytest.raises(TypeError):
        stray.connection_made(None)
    with pytest.raises(TypeError):
        stray.write(None)  # type: ignore[arg-type]  # what must not crash
    with pytest.raises(TypeError):
        stray.writelines(None)  # type: ignore[arg-type]  # the same
