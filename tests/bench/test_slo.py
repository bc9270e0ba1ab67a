"""What the open loop says is added, when it says nothing, and the client in C against a server that it cannot trust."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.slo.client import Answered, Arrivals, OpenLoop, decode
from bench.slo.levels import Level, judge, measure_level, missed_goals
from bench.stage.callers import Load, make_body, write_load

Make = Callable[..., Answered]


def level(answers: dict[str, Sequence[Answered]], tries: int = 5) -> Level:
    """A level whose runs give these answers in turn."""
    turns = {name: iter(found) for name, found in answers.items()}
    return measure_level("native", "request", "poisson", 0.5, 1000, lambda name: next(turns[name]), tries)


def test_what_is_added_is_a_difference_of_percentiles(answered: Make) -> None:
    direct, ours = answered(p50=0.1, p99=0.2, p999=1.0), answered(p50=0.25, p99=0.6, p999=0.9)
    added = level({"direct": [direct], "haproxy": [direct], "native": [ours]}).added
    assert added["haproxy"]["latency"].p99 == 0
    found = added["native"]["latency"]
    assert (found.p50, found.p99, found.p999) == pytest.approx((0.15, 0.4, -0.1))


def test_a_noisy_direct_run_is_tried_again_and_then_is_void(answered: Make) -> None:
    noisy, quiet = answered(p99=0.31), answered(p99=0.3)
    others = {"haproxy": [quiet], "native": [quiet]}
    good = level({"direct": [noisy, noisy, quiet], **others})
    assert (good.tries, good.void) == (3, None)
    bad = level({"direct": [noisy] * 5, **others})
    assert (bad.tries, bad.void) == (5, "the direct p99 is 0.31 ms, over 0.3")
    assert set(bad.added) == {"haproxy", "native"}  # still reported, haproxy's beside ours


def test_a_stream_is_judged_by_its_first_event(answered: Make) -> None:
    assert judge("stream", answered(p99=0.2)) is None
    assert "over 0.3" in str(judge("stream", answered(p99=0.4)))


def test_lost_requests_make_a_level_void(answered: Make) -> None:
    quiet = answered()
    found = level({"direct": [quiet], "haproxy": [quiet], "native": [answered(broken=2, unfinished=1)]})
    assert found.void == "native: 2 broken, 1 unfinished"


def test_the_goal_holds_for_p50_and_p99_where_the_run_counts(answered: Make) -> None:
    quiet, slow = answered(p50=0.1, p99=0.2), answered(p50=0.31, p99=0.8, p999=100)
    missed = missed_goals([level({"direct": [quiet], "haproxy": [quiet], "native": [slow]})])
    assert missed == ["poisson: p50 of 0.210 ms, under 0.2", "poisson: p99 of 0.600 ms, under 0.5"]
    noisy = answered(p99=0.4)
    assert missed_goals([level({"direct": [noisy] * 5, "haproxy": [quiet], "native": [slow]})]) == []


class Server:
    """Answers one request after the other, as `answer` says; keeps what it was sent."""

    def __init__(self, answer: Callable[[asyncio.StreamWriter], "asyncio.Future[None] | object"]) -> None:
        self.keys: Counter[str] = Counter()
        self.bodies: list[str] = []
        self.connections: list[int] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append(0)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(fields["content-length"]))
                self.keys[fields["authorization"]] += 1
                self.bodies.append(json.loads(body)["messages"][-1]["content"][:12])
                self.connections[number] += 1
                await self._answer(writer)  # type: ignore[misc]  # every answer here is a coroutine function
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture(scope="module")
def open_loop(tmp_path_factory: pytest.TempPathFactory, programs_of_the_bench: None) -> OpenLoop:
    return OpenLoop(tmp_path_factory.mktemp("client"))


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return write_load(tmp_path, "load", ("key-0", "key-1", "key-2"), make_body("request"))


async def run(open_loop: OpenLoop, load: Load, server: Server, arrivals: Arrivals) -> Answered:
    """The client against the server."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    command = open_loop.command(listening.sockets[0].getsockname()[1], load, arrivals)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    listening.close()
    assert process.returncode == 0
    return decode(output.decode())


async def plainly(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


async def byte_by_byte(writer: asyncio.StreamWriter) -> None:
    """A stream of two events in chunks, each byte a write of its own."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for byte in head + b'A;x="1"\r\ndata: {}\n\n\r\n0e\r\ndata: [DONE]\n\n\r\n0\r\nT: a\r\n\r\n':
        writer.write(bytes([byte]))
        await asyncio.sleep(0)


async def slowly(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.05)
    await plainly(writer)


async def refusing(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")


async def breaking(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}")
    writer.close()


async def test_keys_take_turns_and_no_body_comes_twice(open_loop: OpenLoop, load: Load) -> None:
    server = Server(plainly)
    found = await run(open_loop, load, server, Arrivals(250, 0.6, 0, 8, "constant"))
    assert (found.offered, found.ok, found.unfinished) == (150, 150, 0)
    assert server.keys == {f"Bearer key-{n}": 50 for n in range(3)}
    assert len(set(server.bodies)) == 150


async def test_a_stream_may_be_cut_anywhere(open_loop: OpenLoop, load: Load) -> None:
    found = await run(open_loop, load, Server(byte_by_byte), Arrivals(20, 0.5, 0, 4, "constant"))
    assert (found.offered, found.ok, found.broken, found.unfinished) == (10, 10, 0, 0)


async def test_a_queue_is_latency_and_not_silence(open_loop: OpenLoop, load: Load) -> None:
    # One connection, 50 ms an answer: 20 a second. At 40 a second for 1 s the last request waits about a second.
    found = await run(open_loop, load, Server(slowly), Arrivals(40, 1.0, 0, 1, "constant"))
    assert found.ok == 40
    assert found.latency.max > 900
    assert found.late.max > 800


async def test_poisson_arrivals_have_the_rate_that_was_asked_for(open_loop: OpenLoop, load: Load) -> None:
    found = await run(open_loop, load, Server(plainly), Arrivals(1000, 1.0, 0, 64, "poisson"))
    assert 850 <= found.offered <= 1150  # five standard deviations
    assert found.offered != 1000 or found.latency.p50 != found.latency.p99


@pytest.mark.parametrize(("answer", "name"), [(refusing, "refused"), (breaking, "broken")])
async def test_bad_answers_are_counted_and_not_timed(
    open_loop: OpenLoop, load: Load, answer: Callable[[asyncio.StreamWriter], object], name: str
) -> None:
    found = await run(open_loop, load, Server(answer), Arrivals(50, 0.4, 0, 4, "constant"))
    assert (found.ok, getattr(found, name), found.latency.count) == (0, 20, 0)


async def test_connections_churn(open_loop: OpenLoop, load: Load) -> None:
    server = Server(plainly)
    found = await run(open_loop, load, server, Arrivals(100, 0.4, 0, 2, "constant", churn=4))
    assert (found.ok + found.unfinished, found.broken) == (40, 0)  # what waits when the time is up is given up
    assert max(server.connections) == 4
    assert sum(server.connections) == found.ok
