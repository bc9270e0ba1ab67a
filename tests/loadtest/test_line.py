"""A caller of the scenarios against the mock model server: what it notes, and how it leaves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backends.mock import Fault, MockOptions, MockServer
from loadtest.locust.line import Heard, Line
from loadtest.locust.talk import Manner, Turn, body
from scheduler.clock import SystemClock


@pytest.fixture
async def server() -> AsyncIterator[MockServer]:
    server = MockServer(MockOptions(models=("llama",), ttft=0.05, rate=100.0, prefix_cache=True), SystemClock())
    yield server
    await server.close()


@pytest.fixture
async def line(server: MockServer) -> AsyncIterator[Line]:
    line = Line("gateway", ("127.0.0.1", await server.start()))
    yield line
    line.close()


async def ask(line: Line, manner: Manner = "read", tokens: int = 5, leave_after: float = 0.0, **more: Any) -> Heard:
    turn = Turn(prompt=("word " * 40,), tokens=tokens, manner=manner, leave_after=leave_after, **more)
    return await asyncio.to_thread(line.ask, turn, body(turn, "tag"), "tag", 0.0)


async def test_an_answer_has_its_times(line: Line, server: MockServer) -> None:
    heard = await ask(line)
    assert (heard.outcome, heard.reason, heard.side) == ("complete", "", "gateway")
    assert heard.ttft is not None
    assert 0.049 <= heard.ttft < 5
    record = server.records[0]
    assert len(heard.gaps) == record.events_sent - 1
    assert sum(heard.gaps) == pytest.approx(record.event_times[-1] - record.event_times[0], abs=0.03)
    assert record.tag == "tag"


async def test_the_cached_share_is_that_of_the_model_server(line: Line, server: MockServer) -> None:
    first, second = await ask(line), await ask(line)
    record = server.records[1]
    assert first.cached == 0
    assert second.cached == pytest.approx(record.cached_tokens / record.prompt_tokens)
    assert second.cached > 0.5
    assert server.connections == 1


async def test_leaving_before_the_first_event(line: Line, server: MockServer) -> None:
    heard = await ask(line, "leave_waiting", leave_after=0.01)
    assert (heard.outcome, heard.ttft) == ("left", None)
    (record,) = await server.wait_records(1)
    assert (record.closed_by, record.events_sent) == ("client", 0)
    assert (await ask(line)).outcome == "complete"


async def test_leaving_after_some_events(line: Line, server: MockServer) -> None:
    heard = await ask(line, "leave_streaming", tokens=200, leave_after=3)
    assert heard.outcome == "left"
    (record,) = await server.wait_records(1)
    assert record.closed_by == "client"
    assert 3 <= record.events_sent < 150


async def test_a_slow_reader_reads_to_the_end(line: Line, server: MockServer) -> None:
    heard = await ask(line, "slow", tokens=20)
    assert heard.outcome == "complete"
    assert sum(heard.gaps) > 0.25  # 0.19 at the pace of the model server


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(status=503), "status 503"),
        (Fault(cut_after=2), "broken"),
        (Fault(die="pre"), "no answer"),
    ],
)
async def test_what_goes_wrong_is_an_error(line: Line, server: MockServer, fault: Fault, reason: str) -> None:
    server.script([fault], times=1)
    heard = await ask(line)
    assert heard.outcome == "error"
    assert reason in heard.reason
    assert (await ask(line)).outcome == "complete"


async def test_nobody_there_is_an_error(line: Line, server: MockServer) -> None:
    await server.close()
    heard = await ask(line)
    assert heard.outcome == "error"
    assert "refused" in heard.reason
