"""What a worker writes down for the ledger: an intent before anything is sent, marks, one end, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backends.mock.fault import Fault
from fastpath.account.books import Books
from fastpath.outbox.facts import End, Intent, Mark, decode
from fastpath.outbox.keeper import Options
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.writer import OutboxWriter
from fastpath.settings import Endpoint, Model, Timeouts
from fastpath.settings.tenancy import ModelPrice
from loadtest.rig import Bench, chat
from loadtest.rig.bench import Served, make_settings
from scheduler.clock import SystemClock
from tests.outbox.records import payloads

PRICE = ModelPrice(input=2.0, output=4.0)


class ReadableBooks(Books):
    """Books over an outbox in a folder, whose records can be read."""

    def __init__(self, folder: Path, options: Options | None = None) -> None:
        self.outbox = OutboxWriter(folder, SystemClock(), options)
        self._reader = OutboxReader(folder)
        super().__init__(self.outbox)

    def read(self) -> list[Any]:
        return [decode(payload) for payload in payloads(self._reader.read(10_000))]


@pytest.fixture
async def books(tmp_path: Path) -> Any:
    made = ReadableBooks(tmp_path / "outbox")
    yield made
    made.outbox.close()


async def serve(bench: Bench, books: Books, *faults: Fault, **model: Any) -> tuple[Served, Any]:
    upstream = await bench.mock()
    if faults:
        upstream.script(*faults)
    endpoints = (Endpoint(url=upstream.url, name="e0", tier="L1"),)
    served = await bench.serve(make_settings([Model(name="llama", endpoints=endpoints, price=PRICE, **model)]))
    assert served.gateway.app is not None
    served.gateway.app._runtime.books = books
    return served, upstream


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_request_is_an_intent_and_an_end(bench: Bench, books: ReadableBooks, stream: bool) -> None:
    served, _ = await serve(bench, books)
    reply = await served.ask(chat(stream=stream, max_tokens=9))
    assert reply.status == 200
    (record,) = await served.records.wait(1)
    intent, end = books.read()
    assert isinstance(intent, Intent)
    assert isinstance(end, End)
    assert intent.request == end.request == bytes.fromhex(record.id[4:])
    assert (intent.attempt, intent.model, intent.endpoint, intent.output_most) == (1, "llama", "e0", 9)
    assert intent.price is not None
    assert (intent.price.input, intent.price.output) == (2_000_000, 4_000_000)
    (attempt,) = end.attempts
    assert (attempt.attempt, attempt.delivered, attempt.estimated) == (1, True, False)
    assert attempt.usage is not None
    assert (attempt.usage.input, attempt.usage.output) == (record.input_tokens, record.output_tokens)
    assert (end.status, end.outcome, end.path) == (200, "complete", "/v1/chat/completions")


async def test_an_attempt_that_failed_is_in_the_end_and_each_has_its_intent(bench: Bench, books: ReadableBooks) -> None:
    first, second = await bench.mock(), await bench.mock()
    first.script(Fault(status=500))
    endpoints = (
        Endpoint(url=first.url, name="e0", tier="L1", weight=1000),
        Endpoint(url=second.url, name="e1", tier="L1", weight=1),
    )
    served = await bench.serve(make_settings([Model(name="llama", endpoints=endpoints, price=PRICE)]))
    assert served.gateway.app is not None
    served.gateway.app._runtime.books = books
    assert (await served.ask(chat())).status == 200
    one, two, end = books.read()
    assert [(fact.attempt, fact.endpoint) for fact in (one, two)] == [(1, "e0"), (2, "e1")]
    assert [(a.attempt, a.endpoint, a.usage is None, a.delivered) for a in end.attempts] == [
        (1, "e0", True, False),
        (2, "e1", False, True),
    ]


@pytest.mark.parametrize("fault", [Fault(cut_after=3), Fault(stall_after=3), Fault(in_band_error=3)])
async def test_F01_what_was_delivered_of_a_broken_stream_is_billed(
    bench: Bench, books: ReadableBooks, fault: Fault
) -> None:
    served, _ = await serve(bench, books, fault, timeouts=Timeouts(idle=0.2))
    await served.ask(chat(stream=True, max_tokens=9))
    (record,) = await served.records.wait(1)
    assert record.outcome == "broken"
    (attempt,) = books.read()[-1].attempts
    assert (attempt.attempt, attempt.endpoint, attempt.delivered, attempt.estimated) == (1, "e0", True, True)
    assert attempt.usage is not None
    assert (attempt.usage.input, attempt.usage.output) == (record.input_tokens, record.events)
    assert record.events >= 1


async def test_a_stream_is_marked_while_it_runs(bench: Bench, books: ReadableBooks) -> None:
    served, _ = await serve(bench, books)
    client = await served.open()
    client.send(chat({"rate": 2}, stream=True))
    await client.events(1)
    marks: list[Mark] = []
    async with asyncio.timeout(30):
        while not marks:
            marks = [fact for fact in books.read() if isinstance(fact, Mark)]
            await asyncio.sleep(0.02)
    assert marks[0].estimated
    assert marks[0].usage.output >= 1
    client.leave()


async def test_F28_what_cannot_be_written_down_is_not_sent(bench: Bench, tmp_path: Path, quiet: Any) -> None:
    class Full:
        """An outbox without room."""

        def put(self, record: bytes) -> bool:
            return False

        put_opening = put_closing = put

    served, upstream = await serve(bench, Books(Full()))
    reply = await served.ask(chat())
    assert (reply.status, reply.error["code"]) == (503, "overloaded")
    assert reply.header("retry-after") == "5"
    assert upstream.asked == 0
    await quiet(served).wait()


async def test_no_prompt_and_no_answer_is_written(bench: Bench, books: ReadableBooks, tmp_path: Path) -> None:
    served, _ = await serve(bench, books)
    await served.ask(chat(text="canary-5f1e", stream=True))
    books.outbox.close()
    written = b"".join(path.read_bytes() for path in (tmp_path / "outbox").glob("*.seg"))
    assert b"llama" in written
    assert b"canary" not in written
    assert b"http" not in written


async def test_a_request_without_a_route_tells_the_ledger_nothing(bench: Bench, books: ReadableBooks) -> None:
    served, _ = await serve(bench, books)
    assert (await served.ask(chat(model="other"))).status == 404
    assert books.read() == []
