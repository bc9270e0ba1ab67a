"""The native door takes the bytes of a connection in the order they came, whenever they come.

On a running gateway, but without a socket: the moment between an answer's end and the next request's turn, in which the
loop may read once more, cannot be hit on purpose through one.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import uvloop

from _native.door import CallerConnection
from loadtest.rig import Bench, Upstream
from loadtest.rig.bench import Served
from loadtest.rig.doors import DoorBench
from loadtest.rig.reply import ReplyReader
from tests.smuggling.cases import FIRST, GET, HIDDEN, MODEL, request, sound

#: Answered at once, while its last byte is taken.
LOCAL = request(line=GET)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """Workers run on uvloop, so this does too."""
    return {"uvloop": uvloop.new_event_loop}


class Wire:
    """The transport of one connection: reads what is written as answers."""

    def __init__(self) -> None:
        self.reader = ReplyReader()
        self.news = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.reader.feed(data)
        self.news.set()

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    async def statuses(self, count: int) -> list[int]:
        """Of the answers, once there are `count`."""
        async with asyncio.timeout(30):
            while len(self.reader.done) < count:
                self.news.clear()
                await self.news.wait()
        return [reply.status for reply in self.reader.done]

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def _nothing(self, *_: object, **__: object) -> None:
        pass

    close = abort = write_eof = pause_reading = resume_reading = set_write_buffer_limits = _nothing


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with DoorBench("native") as bench:
        yield bench


async def open_gateway(bench: Bench) -> tuple[Served, Upstream]:
    upstream = await bench.mock(models=(MODEL.decode(),))
    return await bench.gateway(upstream.url, model=MODEL.decode()), upstream


def open_connection(served: Served) -> tuple[CallerConnection, Wire]:
    assert served.gateway.app is not None
    wire = Wire()
    connection = CallerConnection(cast(Any, served.gateway.app._door))
    connection.connection_made(cast(Any, wire))
    return connection, wire


async def test_a_body_that_comes_before_its_head_had_its_turn_is_no_request(bench: Bench) -> None:
    """A pipelined request's head waits for its turn; its body, which looks like a request, comes before that."""
    served, upstream = await open_gateway(bench)
    connection, wire = open_connection(served)
    outer = sound(HIDDEN)
    connection.data_received(LOCAL + outer[: -len(HIDDEN)])
    connection.data_received(HIDDEN)
    assert await wire.statuses(2) == [200, 400]
    assert upstream.asked == 0
    connection.data_received(sound(FIRST))
    assert await wire.statuses(3) == [200, 400, 200]
    connection.connection_lost(None)


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_request_may_be_cut_anywhere_at_any_moment(bench: Bench, turns: int) -> None:
    """The second of two requests in three pieces; the loop comes round so often between them."""
    served, upstream = await open_gateway(bench)
    second = sound(FIRST)
    cuts = range(1, len(second) - 5, 7)
    for one in cuts:
        connection, wire = open_connection(served)
        for piece in (LOCAL + second[:one], second[one : one + 5], second[one + 5 :]):
            connection.data_received(piece)
            for _ in range(turns):
                await asyncio.sleep(0)
        assert await wire.statuses(2) == [200, 200], one
        connection.connection_lost(None)
    assert upstream.asked == len(cuts)
