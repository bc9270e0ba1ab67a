"""F16: one endpoint's name does not resolve, resolves slowly, to somewhere else, or by a forged answer.

The name server is a UDP socket of the test's own on a free loopback port.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from backends.http.resolver import Resolver
from fastpath.settings import Dns
from loadtest.rig import Bench, Reply, chat
from loadtest.rig.bench import Served, Upstream
from scheduler.clock import ManualClock

NAME = "model.test"
A, NXDOMAIN, SERVFAIL = 1, 3, 2


class NameServer(asyncio.DatagramProtocol):
    """Answers A questions from `addresses` (name -> addresses) with `ttl`; `mode` says how it misbehaves."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.ttl = 60
        self.mode = "answer"
        """answer | nxdomain | servfail | silent | forged_id | forged_name"""
        self.delay = 0.0
        self.asked: list[tuple[str, int]] = []
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, kind = question(data)
        self.asked.append((name, kind))
        for packet in self.packets(data, name, kind):
            asyncio.get_running_loop().call_later(self.delay, self.transport.sendto, packet, addr)

    def packets(self, query: bytes, name: str, kind: int) -> list[bytes]:
        good = self.addresses.get(name, []) if kind == A else []
        match self.mode:
            case "silent":
                return []
            case "nxdomain":
                return [answer(query, [], 0, NXDOMAIN)]
            case "servfail":
                return [answer(query, [], 0, SERVFAIL)]
            case "forged_id":
                forged = answer(query, self.addresses["evil.test"], 60)
                return [
                    struct.pack(">H", struct.unpack(">H", query[:2])[0] ^ 0x5555) + forged[2:],
                    self.good(query, good),
                ]
            case "forged_name":
                other = query.replace(b"\x05model\x04test", b"\x05other\x04test")
                return [answer(other, self.addresses["evil.test"], 60), self.good(query, good)]
        return [self.good(query, good)]

    def good(self, query: bytes, addresses: list[str]) -> bytes:
        return answer(query, addresses, self.ttl)


def question(query: bytes) -> tuple[str, int]:
    """Name and type of the only question."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += 1 + query[at]
    return b".".join(labels).decode().lower(), struct.unpack(">H", query[at + 1 : at + 3])[0]


def answer(query: bytes, addresses: list[str], ttl: int, code: int = 0) -> bytes:
    """A response to the query with A records."""
    end = query.index(b"\x00", 12) + 5
    head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
    records = [b"\xc0\x0c" + struct.pack(">HHIH", A, 1, ttl, 4) + socket.inet_aton(text) for text in addresses]
    return head + query[12:end] + b"".join(records)


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    yield server
    transport.close()


@pytest.fixture
async def world(bench: Bench, names: NameServer) -> tuple[Callable[..., Awaitable[Served]], Upstream, Upstream]:
    """A maker of gateways, the mock behind the name and a second endpoint that needs no name."""
    named, second = await bench.mock(), await bench.mock()
    names.addresses[NAME] = ["127.0.0.1"]

    async def begin(alone: bool = False, min_ttl: float = 1.0, **timeouts: float) -> Served:
        urls = [f"http://{NAME}:{named.port}/v1", second.url]
        dns = Dns(nameservers=(f"127.0.0.1:{names.port}",), min_ttl=min_ttl)
        return await bench.gateway(*urls[: 1 if alone else 2], dns=dns, timeouts={"pool_idle": 0.01} | timeouts)

    return begin, named, second


def assert_answered(reply: Reply) -> None:
    assert reply.status == 200, reply.body
    assert reply.done == 1


async def test_F16_a_name_is_resolved(names: NameServer, world: Any) -> None:
    begin, named, second = world
    served = await begin()
    for _ in range(5):
        assert_answered(await served.ask(chat(stream=True)))
    assert (named.asked, second.asked) == (5, 0)
    assert [name for name, kind in names.asked if kind == A] == [NAME], "an answer is kept for its TTL"


@pytest.mark.alone
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("mode", ["nxdomain", "servfail", "silent"])
async def test_F16_another_endpoint_answers(names: NameServer, world: Any, mode: str, stream: bool) -> None:
    begin, named, second = world
    names.mode = mode
    served = await begin(connect=0.4)
    started = time.monotonic()
    reply = await served.ask(chat(stream=stream))
    assert reply.status == 200
    assert time.monotonic() - started < 1.5
    assert (named.asked, second.asked) == (0, 1)
    (record,) = await served.records.wait(1)
    assert record.failures == ["e0 dns connect"]


@pytest.mark.parametrize("mode", ["nxdomain", "servfail", "silent"])
async def test_F16_without_an_alternative(names: NameServer, world: Any, mode: str) -> None:
    begin, _, _ = world
    names.mode = mode
    served = await begin(alone=True, connect=0.4)
    reply = await served.ask(chat())
    assert (reply.status, reply.error["code"]) == (502, "upstream_error")
    assert NAME not in reply.body.decode()


async def test_F16_a_slow_name_server_is_waited_for(names: NameServer, world: Any) -> None:
    begin, named, _ = world
    names.delay = 0.3
    served = await begin(connect=1.0)
    assert_answered(await served.ask(chat(stream=True)))
    assert named.asked == 1


@pytest.mark.alone
async def test_F16_a_slow_name_server_does_not_hold_up_others(bench: Bench, names: NameServer, world: Any) -> None:
    """Resolving is off the loop: a request to an endpoint without a name is answered meanwhile."""
    begin, _, _ = world
    names.mode = "silent"
    served = await begin(alone=True, connect=1.5)
    waiting = await served.open()
    waiting.send(chat())
    started = time.monotonic()
    health = await served.ask(b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n")
    assert health.status == 200
    assert time.monotonic() - started < 0.5
    assert (await waiting.reply()).status == 502
    waiting.leave()


async def test_F16_a_short_ttl_is_honoured(bench: Bench, names: NameServer, world: Any) -> None:
    """The address moves: after the TTL (clamped to min_ttl) requests go to the new one."""
    begin, named, _ = world
    names.ttl = 0
    served = await begin(min_ttl=0.1)
    assert_answered(await served.ask(chat(stream=True)))
    names.addresses[NAME] = ["127.0.0.2"]
    moved = await bench.mock(host="127.0.0.2", port=named.port)
    async with asyncio.timeout(30):
        while not moved.asked:
            assert_answered(await served.ask(chat(stream=True)))
            await asyncio.sleep(0.05)
    before = named.asked
    assert_answered(await served.ask(chat(stream=True)))
    assert named.asked == before


async def test_F16_all_addresses_are_tried(names: NameServer, world: Any) -> None:
    """Nobody listens on the first two."""
    begin, named, second = world
    names.addresses[NAME] = ["127.0.0.3", "127.0.0.4", "127.0.0.1"]
    served = await begin()
    for _ in range(3):
        assert_answered(await served.ask(chat(stream=True)))
    assert (named.asked, second.asked) == (3, 0)


@pytest.mark.parametrize("mode", ["forged_id", "forged_name"])
async def test_F16_a_forged_answer_is_ignored(bench: Bench, names: NameServer, world: Any, mode: str) -> None:
    """An answer with another transaction id, or to another question, arrives before the true one."""
    begin, named, _ = world
    evil = await bench.mock(host="127.0.0.66", port=named.port)
    names.addresses["evil.test"] = ["127.0.0.66"]
    names.mode = mode
    served = await begin(alone=True, connect=5.0)
    assert_answered(await served.ask(chat(stream=True)))
    assert named.asked == 1
    assert evil.server.connections == 0


@pytest.mark.alone
async def test_F16_the_last_good_address_serves_until_twice_its_ttl(names: NameServer, world: Any) -> None:
    begin, named, second = world
    names.ttl = 1
    served = await begin(min_ttl=1.0, connect=0.5)
    started = time.monotonic()
    assert_answered(await served.ask(chat(stream=True)))
    names.mode = "nxdomain"
    async with asyncio.timeout(30):
        while not second.asked:
            assert_answered(await served.ask(chat(stream=True)))
            last = time.monotonic() - started
            await asyncio.sleep(0.1)
    assert named.asked >= 12, "requests went on to the last good address"
    assert 1.9 <= last < 3.0


class Script:
    """A query that answers from a list; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str) -> tuple[list[str], float]:
        self.asked += 1
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        addresses, ttl = found
        return addresses, ttl


async def test_F16_the_cache_by_the_clock() -> None:
    clock = ManualClock()
    down = OSError("the name servers are down")
    query = Script((["192.0.2.1"], 10.0), down, (["192.0.2.2"], 10.0), down, down)
    resolver = Resolver(query, clock, min_ttl=1.0, max_ttl=300.0)
    assert await resolver.addresses(NAME) == ["192.0.2.1"]
    clock.advance(9.9)
    assert await resolver.addresses(NAME) == ["192.0.2.1"]
    assert query.asked == 1
    clock.advance(0.2)
    assert await resolver.addresses(NAME) == ["192.0.2.1"], "stale, the name servers failed"
    assert await resolver.addresses(NAME) == ["192.0.2.2"], "they are asked again at once"
    clock.advance(19.9)
    assert await resolver.addresses(NAME) == ["192.0.2.2"]
    clock.advance(0.2)
    with pytest.raises(OSError, match="down"):
        await resolver.addresses(NAME)
    assert query.asked == 5


async def test_F16_ttls_are_clamped() -> None:
    clock = ManualClock()
    query = Script((["192.0.2.1"], 0.0), (["192.0.2.2"], 1e9), (["192.0.2.3"], 1.0))
    resolver = Resolver(query, clock, min_ttl=2.0, max_ttl=60.0)
    assert await resolver.addresses(NAME) == ["192.0.2.1"]
    clock.advance(1.9)
    assert await resolver.addresses(NAME) == ["192.0.2.1"]
    clock.advance(0.2)
    assert await resolver.addresses(NAME) == ["192.0.2.2"]
    clock.advance(60.1)
    assert await resolver.addresses(NAME) == ["192.0.2.3"]


async def test_F16_one_query_for_many_callers() -> None:
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asked = 0

    async def query(host: str) -> tuple[list[str], float]:
        nonlocal asked
        asked += 1
        await gate
        return ["192.0.2.1"], 10.0

    resolver = Resolver(query, ManualClock())
    callers = [asyncio.create_task(resolver.addresses(NAME)) for _ in range(10)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    gate.set_result(None)
    assert await asyncio.gather(*callers[1:]) == [["192.0.2.1"]] * 9
    assert asked == 1


async def test_F16_literal_addresses_need_no_name_server() -> None:
    resolver = Resolver(Script(), ManualClock())
    assert await resolver.addresses("127.0.0.1") == ["127.0.0.1"]
    assert await resolver.addresses("::1") == ["::1"]
