"""A listening socket in turns: when it is an overload, who is taken, who is turned away, and what they hear.

Turns are counted, never timed: an intake whose slice is no time at all takes one connection in a calm turn.
"""

import asyncio
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from _native.intake import Intake, Overload, Pace, Refusal
from _native.transport import Poller

pytestmark = pytest.mark.alone

PATIENCE = 10.0
PLACE = b"req_" + b"0" * 32
REQUEST = b"POST /v1/chat HTTP/1.1\r\nhost: g\r\nContent-Length: 4\r\n\r\nbody"
AGES = 1e9
BACKLOG = 100


# -- what an overload is


def look(overload: Overload, at: float, waiting: list[int], taken: int = 10, refused: int = 0) -> bool:
    """Turns spread over a second from `at`; whether it is an overload then."""
    for turn, left in enumerate(waiting):
        overload.note(at + turn / (len(waiting) - 1), taken, refused, left)
    return overload.active


@pytest.mark.parametrize(
    ("waiting", "taken", "active"),
    [
        ([50, 50, 50, 50, 50], 10, True),
        ([50, 60, 70, 80, 90], 10, True),
        ([50, 60, 0, 80, 90], 10, False),  # it was empty once
        ([50, 60, 1, 80, 90], 100, False),  # or nearly
        ([4, 4, 4, 4, 4], 100, False),  # 4 of 400 a second: 10 ms
        ([50, 44, 38, 32, 26], 10, False),  # empty in another 1.1 s
        ([100, 99, 98, 97, 96], 10, True),  # empty in 24 s
    ],
    ids=["stands", "grows", "was-empty", "was-short", "bearable", "shrinks", "shrinks-too-slowly"],
)
def test_what_is_an_overload(waiting: list[int], taken: int, active: bool) -> None:
    overload = Overload(1.0, 0.02)
    assert look(overload, 5.0, waiting, taken) == active


def test_a_queue_must_stand_for_the_whole_interval() -> None:
    overload = Overload(1.0, 0.02)
    for tenth in range(10):
        overload.note(5 + tenth / 10, 1, 0, 90)
        assert not overload.active
    overload.note(6.0, 1, 0, 90)
    assert overload.active


def test_a_queue_that_stands_while_nobody_is_taken_is_no_overload() -> None:
    """As in a pause for want of descriptors: who waits is served when it ends."""
    overload = Overload(1.0, 0.02)
    overload.note(5.0, 1, 0, 90)
    overload.rest()
    overload.note(30.0, 1, 0, 90)
    assert not overload.active
    overload.note(30.9, 1, 0, 90)
    assert not overload.active
    overload.note(31.0, 1, 0, 90)
    assert overload.active, "from then on it counts"


def test_an_overload_outlasts_a_pause() -> None:
    overload = Overload(1.0, 0.02)
    assert look(overload, 5.0, [50, 50, 50])
    overload.rest()
    assert overload.active
    overload.note(7.0, 0, 0, 0)
    assert not overload.active


@pytest.mark.parametrize(("refused", "active"), [(0, False), (4, False), (5, True), (900, True)])
def test_an_overload_ends_when_hardly_anyone_is_turned_away(refused: int, active: bool) -> None:
    overload = Overload(1.0, 0.02)
    assert look(overload, 5.0, [50, 50, 50])
    assert look(overload, 6.0, [0, 0, 0], taken=40, refused=refused) == active


def test_an_overload_ends_when_nobody_comes() -> None:
    overload = Overload(1.0, 0.02)
    assert look(overload, 5.0, [50, 50, 50])
    overload.note(6.9, 0, 0, 0)
    assert overload.active
    overload.note(7.0, 0, 0, 0)
    assert not overload.active


# -- the socket


class Caller:
    """One connection from outside."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.channel.setblocking(False)

    def send(self, data: bytes) -> None:
        assert self.channel.send(data) == len(data)

    async def answer(self) -> bytes:
        """All bytes until the end of the connection, which must be no reset."""
        loop, found = asyncio.get_running_loop(), bytearray()
        async with asyncio.timeout(PATIENCE):
            while data := await loop.sock_recv(self.channel, 1 << 16):
                found += data
        return bytes(found)


class Served(asyncio.Protocol):
    """A connection that was taken. `doubted` ones ask the intake about what comes first, as the door's do."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.doubted = False
        self.heard: list[bytes] = []
        stage.served.append(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made_in = self.stage.turns

    def doubt(self) -> None:
        self.doubted = True

    def data_received(self, data: bytes) -> None:
        if self.doubted:
            self.doubted = False
            self.stage.judged.append(self.stage.intake.judge(data))
        self.heard.append(data)


class Stage:
    """An intake, its owner in person, and callers."""

    def __init__(self, poller: Poller, listener: socket.socket, pace: Pace) -> None:
        self.listener = listener
        self.served: list[Served] = []
        self.judged: list[tuple[str, bytes] | None] = []
        self.told: list[tuple[str, Any]] = []
        self.reasons: list[str] = []
        self.space = 1000
        self.turns = 0
        self.intake = Intake(poller, listener.fileno(), lambda: Served(self), self, pace)

    def room(self) -> int:
        self.turns += 1
        return self.space

    def pause(self) -> None:
        self.intake.pause()

    def wait(self, reason: str) -> None:
        self.reasons.append(reason)
        self.intake.pause()

    def turned_away(self, callers: list[tuple[str, Any]]) -> None:
        self.told += callers

    def overload(self, since: float = 2 * AGES) -> None:
        """It is one, and no look will end it before `since` and an interval."""
        self.intake.overload.note(since - AGES, 0, 0, 9)
        self.intake.overload.note(since, 0, 0, 9)
        assert self.intake.overload.active

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                await asyncio.sleep(0)

    @property
    def longest_queue(self) -> int:
        """That the kernel allows."""
        found: int = struct.unpack_from("I", self.listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64), 28)[0]
        return found


Open = Callable[..., Awaitable[tuple[Stage, Callable[..., Caller]]]]


def answers() -> list[tuple[bytes, Refusal]]:
    body = b'{"id": "' + PLACE + b'"}'
    texts = {name: b"HTTP/1.1 503 X\r\nid: " + PLACE + b"\r\n\r\n" + name + body for name in (b"messages", b"other")}
    return [(b"POST /v1/messages ", Refusal(texts[b"messages"], PLACE)), (b"", Refusal(texts[b"other"], PLACE))]


@pytest.fixture
async def open_stage() -> AsyncIterator[Open]:
    """`await open_stage(slice=0.0, family=..., ceiling=..., interval=...)`: a stage, and what makes a caller of it."""
    poller = Poller(asyncio.get_running_loop())
    with ExitStack() as stack:

        async def begin(
            *,
            slice: float = 0.0,
            listener: socket.socket | None = None,
            ceiling: int = 1 << 30,
            interval: float = AGES,
            patience: float = 0.0,
            bearable: float = -1.0,
        ) -> tuple[Stage, Callable[..., Caller]]:
            listener = stack.enter_context(listener or socket.create_server(("127.0.0.1", 0), backlog=BACKLOG))
            listener.setblocking(False)
            stage = Stage(poller, listener, Pace(ceiling, slice, patience, interval, bearable))
            stage.intake.set_answers((b"GET /healthz ",), tuple(answers()))

            def call(data: bytes = REQUEST) -> Caller:
                channel = stack.enter_context(socket.socket(listener.family, socket.SOCK_STREAM))
                channel.connect(listener.getsockname())
                caller = Caller(channel)
                if data:
                    caller.send(data)
                return caller

            return stage, call

        yield begin
        poller.close()


async def test_calm_turns_take_one_by_one_what_they_have_no_time_for_and_serve_it_at_once(open_stage: Open) -> None:
    stage, call = await open_stage()
    callers = [call() for _ in range(20)]
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 20)
    assert [one.made_in for one in stage.served] == list(range(1, 21))
    assert [one.heard for one in stage.served] == [[REQUEST]] * 20
    names = [caller.channel.getsockname() for caller in callers]
    assert [one.transport.get_extra_info("peername") for one in stage.served] == names
    assert not stage.told


async def test_with_time_a_turn_takes_all(open_stage: Open) -> None:
    stage, call = await open_stage(slice=PATIENCE)
    for _ in range(50):
        call()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 50)
    assert {one.made_in for one in stage.served} == {1}


async def test_addresses_of_ipv6_and_unix_callers(open_stage: Open, tmp_path: Path) -> None:
    six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    stage, call = await open_stage(listener=six)
    caller = call()
    stage.intake.resume()
    await stage.until(lambda: stage.served)
    assert stage.served[0].transport.get_extra_info("peername") == caller.channel.getsockname()
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "door"))
    unix.listen(9)
    stage, call = await open_stage(listener=unix)
    call()
    stage.intake.resume()
    await stage.until(lambda: stage.served)
    assert stage.served[0].transport.get_extra_info("peername", "none") == "none"


async def test_who_is_turned_away_reads_why_and_is_told_of_once(open_stage: Open) -> None:
    stage, call = await open_stage(slice=0.0)
    callers = [call() for _ in range(40)]
    stage.overload()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) + len(stage.told) == 40)
    assert len(stage.served) >= 4
    assert len(stage.told) >= 1
    by_name = {caller.channel.getsockname(): caller for caller in callers}
    for one in stage.served:
        del by_name[one.transport.get_extra_info("peername")]
    assert set(by_name) == {address for _, address in stage.told}
    assert len({request_id for request_id, _ in stage.told}) == len(stage.told)
    for request_id, address in stage.told:
        assert re.fullmatch("req_[0-9a-f]{32}", request_id)
        text = b'HTTP/1.1 503 X\r\nid: %b\r\n\r\nother{"id": "%b"}'
        assert await by_name[address].answer() == text % (request_id.encode(), request_id.encode())


async def test_at_least_four_are_taken_in_a_turn_of_an_overload(open_stage: Open) -> None:
    stage, call = await open_stage(slice=0.0)
    for _ in range(4):
        call()
    stage.overload()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 4)
    assert {one.made_in for one in stage.served} == {1}
    assert not stage.told


async def test_who_waits_no_longer_than_that_is_not_turned_away(open_stage: Open) -> None:
    stage, call = await open_stage(patience=AGES)
    for _ in range(40):
        call()
    stage.overload()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 40)
    assert [one.made_in for one in stage.served] == [turn for turn in range(1, 11) for _ in range(4)]
    assert not stage.told


async def turned_away(stage: Stage, call: Callable[..., Caller], data: bytes) -> Caller:
    """A caller behind the four who are taken."""
    for _ in range(4):
        call()
    caller = call(data)
    stage.overload()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) >= 4 and len(stage.served) + len(stage.told) == 5)
    return caller


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"POST /v1/messages HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"messages{"),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", b"other{"),
        (b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"other{"),
        (b"HEAD /x HTTP/1.1\r\n\r\n", b""),
    ],
    ids=["messages", "no-body", "chunked", "head"],
)
async def test_the_answer_fits_the_request(open_stage: Open, data: bytes, text: bytes) -> None:
    stage, call = await open_stage(slice=PATIENCE / 1e9)
    answer = await (await turned_away(stage, call, data)).answer()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 503 X\r\nid: " + stage.told[0][0].encode()
    assert body.startswith(text)
    assert bool(body) == bool(text)
    assert PLACE not in answer


async def test_health_is_served_all_the_same(open_stage: Open) -> None:
    stage, call = await open_stage()
    await turned_away(stage, call, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert stage.judged == [None]
    assert stage.served[4].heard == [b"GET /healthz HTTP/1.1\r\n\r\n"]
    assert not stage.told


@pytest.mark.parametrize(
    "data",
    [b"", b"P", REQUEST[:-1], b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"],
    ids=["nothing", "a-byte", "a-byte-short", "chunks-to-come"],
)
async def test_who_is_still_sending_is_listened_to_and_judged(open_stage: Open, data: bytes) -> None:
    """Closing on them would reset the connection before they read the answer."""
    stage, call = await open_stage()
    caller = await turned_away(stage, call, data)
    caller.send(b"GET /x HTTP/1.1\r\n\r\n" if not data else b"!")
    await stage.until(lambda: stage.judged)
    ((request_id, answer),) = [found for found in stage.judged if found]
    assert request_id.encode() in answer
    assert not stage.told  # whoever judges tells


async def test_who_left_is_not_told_of(open_stage: Open) -> None:
    stage, call = await open_stage()
    callers = [call() for _ in range(4)]
    leaver = call(b"")
    gone = leaver.channel.getsockname()
    leaver.channel.close()
    # Turning away may take as long as serving took, which may be over after the leaver: then these are served.
    callers += [call() for _ in range(20)]
    here = {caller.channel.getsockname() for caller in callers}

    def known() -> set[Any]:
        return {one.transport.get_extra_info("peername") for one in stage.served} | {at for _, at in stage.told}

    stage.overload()
    stage.intake.resume()
    await stage.until(lambda: here <= known())
    assert stage.told
    assert gone not in {at for _, at in stage.told}


async def test_a_queue_that_grew_while_others_had_the_cpu_is_worked_off_first(open_stage: Open) -> None:
    stage, call = await open_stage(interval=0.1, bearable=0.02)
    for _ in range(40):
        call()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) >= 4)
    for _ in range(40):
        call()
    time.sleep(0.2)  # as when others have it: the clock goes on and nothing is done
    await stage.until(lambda: len(stage.served) + len(stage.told) == 80)
    assert not stage.told


async def test_an_overload_leaves_the_kernels_queue_as_long_as_it_is(open_stage: Open) -> None:
    """A shorter one makes the kernel answer with SYN cookies, and callers with large bodies are reset."""
    stage, call = await open_stage(interval=1e-9)
    for _ in range(BACKLOG):
        call()
    stage.overload(time.monotonic())
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) + len(stage.told) == BACKLOG)
    assert stage.longest_queue == BACKLOG


async def test_a_full_house_leaves_callers_in_the_queue(open_stage: Open) -> None:
    stage, call = await open_stage(slice=PATIENCE)
    stage.space = 3
    for _ in range(5):
        call()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(stage.served) == 3
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 5)


async def test_few_descriptors_pause_it(open_stage: Open) -> None:
    stage, call = await open_stage(slice=PATIENCE, ceiling=0)
    call()
    call()
    stage.intake.resume()
    await stage.until(lambda: stage.reasons)
    assert len(stage.served) == 1
    assert "descriptors" in stage.reasons[0]


async def test_nobody_is_turned_away_over_a_unix_socket(open_stage: Open, tmp_path: Path) -> None:
    """The kernel does not say how many wait there."""
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "door"))
    unix.listen(BACKLOG)
    stage, call = await open_stage(listener=unix, interval=1e-9)
    for _ in range(50):
        call()
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 50)
    assert not stage.told


async def test_a_protocol_that_fails_costs_its_own_connection(open_stage: Open) -> None:
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    stage, call = await open_stage()

    def fail(data: bytes) -> None:
        raise ValueError("no")

    callers = [call(b"") for _ in range(2)]
    stage.intake.resume()
    await stage.until(lambda: len(stage.served) == 2)
    stage.served[0].data_received = fail  # type: ignore[method-assign]  # a bug in the midst of a connection's life
    for caller in callers:
        caller.send(b"x")
    assert await callers[0].answer() == b""
    await stage.until(lambda: stage.served[1].heard)
    assert [str(context["exception"]) for context in said] == ["no"]


def test_an_answer_must_have_a_place_for_the_id() -> None:
    for text in (b"HTTP/1.1 503 X\r\n\r\n", PLACE):
        with pytest.raises(ValueError, match="a place for the request's id"):
            Refusal(text, PLACE)
