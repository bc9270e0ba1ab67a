"""The native door makes no Task for a request: ten thousand of them, counted, over kept connections.

The model server is another process and the caller is a bare protocol, so that every Task of this loop is the gateway's.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastpath.settings import Endpoint, Model
from fastpath.settings.secret import Secret
from loadtest.rig import chat
from loadtest.rig.bench import Served, make_settings
from loadtest.rig.doors import DoorBench

REQUESTS = 10_000
CONNECTIONS = 16
WARM_UP = 20 * CONNECTIONS

STREAMED = chat(stream=True)
WHOLE = chat()


class Caller(asyncio.Protocol):
    """Asks, reads the answer, asks again, in turn for a stream and for a whole answer; `again` says whether to."""

    def __init__(self, again: Callable[[], bool], stream: bool) -> None:
        self._again = again
        self._stream = stream
        self._received = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.go_on()

    def go_on(self) -> None:
        if self._again():
            self._transport.write(STREAMED if self._stream else WHOLE)
        else:
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._whole():
            self._received.clear()
            self._stream = not self._stream
            self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(AssertionError(f"cut after {bytes(self._received[:300])!r}"))

    def rest(self) -> None:
        """Ready for another round."""
        self.done = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        self._transport.abort()

    def _whole(self) -> bool:
        if self._stream:
            assert self._received.startswith(b"HTTP/1.1 200"[: len(self._received)]), bytes(self._received)
            return self._received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        if not found:
            return False
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return False
        assert json.loads(body)["choices"][0]["finish_reason"] == "stop"
        return True


class Round:
    """So many requests over the same connections, then all callers rest."""

    def __init__(self) -> None:
        self._left = 0
        self._callers: list[Caller] = []

    async def open(self, served: Served) -> None:
        loop = asyncio.get_running_loop()
        for number in range(CONNECTIONS):
            stream = number % 2 == 0
            _, caller = await loop.create_connection(lambda s=stream: Caller(self._take, s), "127.0.0.1", served.port)
            self._callers.append(caller)
            await caller.done

    async def run(self, count: int) -> None:
        self._left = count
        for caller in self._callers:
            caller.rest()
        for caller in self._callers:
            caller.go_on()
        await asyncio.gather(*(caller.done for caller in self._callers))

    def close(self) -> None:
        for caller in self._callers:
            caller.leave()

    def _take(self) -> bool:
        self._left -= 1
        return self._left >= 0


@pytest.fixture
def born() -> Counter[str]:
    """How many Tasks were made, by coroutine; `count_tasks` begins."""
    return Counter()


def count_tasks(born: Counter[str]) -> None:
    loop = asyncio.get_running_loop()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        born[getattr(coroutine, "__qualname__", repr(coroutine))] += 1
        return asyncio.Task(coroutine, loop=loop, **more)

    loop.set_task_factory(make)


async def test_no_task_for_a_request(model_server: Any, born: Counter[str]) -> None:
    endpoint = Endpoint(url=model_server.url, name="e0", tier="L1", api_key=Secret(model_server.key))
    async with DoorBench("native") as bench:
        model_server.reset()
        served = await bench.serve(make_settings([Model(name="llama", endpoints=(endpoint,))]))
        callers = Round()
        await callers.open(served)
        await callers.run(WARM_UP)
        count_tasks(born)
        before = len(served.records.all)
        await callers.run(REQUESTS)
        asyncio.get_running_loop().set_task_factory(None)
        callers.close()
        records = await served.records.wait(before + REQUESTS)
    assert {(record.status, record.outcome) for record in records} == {(200, "complete")}
    # A connection to the model server may be opened when the last one still waits for the end of its answer's framing.
    opened = born.pop("Pool._open", 0)
    assert opened <= CONNECTIONS
    assert not born, f"Tasks made in {REQUESTS} requests: {dict(born)}"


async def test_a_task_would_be_counted(born: Counter[str]) -> None:
    async def anything() -> None: ...

    count_tasks(born)
    await asyncio.get_running_loop().create_task(anything())
    asyncio.get_running_loop().set_task_factory(None)
    assert list(born.values()) == [1]
