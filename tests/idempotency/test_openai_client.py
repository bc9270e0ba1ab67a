"""The official client's own retries after a lost answer: one run, one charge, one answer."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from backends.mock.fault import Fault
from fastpath.account.books import Books
from fastpath.outbox.facts import End, Intent, decode
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.writer import OutboxWriter
from loadtest.faultd import Cut
from scheduler.clock import SystemClock
from tests.outbox.records import payloads

Open = Callable[..., Awaitable[Any]]
HELLO: Any = [{"role": "user", "content": "hello"}]
KEYED = {"Idempotency-Key": "order-4711"}


def client_of(world: Any, port: int, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=world.tokens["ann"], **options)


async def test_the_client_sends_no_key_of_its_own_and_repeats_the_one_it_is_given() -> None:
    """What docs/reference/idempotency.md tells callers to do rests on this."""
    sent: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers.get("idempotency-key"))
        return httpx2.Response(503, headers={"retry-after-ms": "1"})

    transport = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    client = AsyncOpenAI(base_url="http://gateway/v1", api_key="none", http_client=transport)
    for headers in ({}, KEYED):
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="llama", messages=HELLO, extra_headers=headers)
    assert sent == [None] * 3 + ["order-4711"] * 3


@pytest.mark.parametrize("cut", [Cut(before_headers=True, how="rst", connections=(1,)),
                                 Cut(after_bytes=150, how="fin", connections=(1,))], ids=["whole", "half"])  # fmt: skip
async def test_a_lost_answer_is_had_again_without_a_second_run_or_charge(
    open_world: Open, bench: Any, tmp_path: Path, cut: Cut
) -> None:
    world = await open_world()
    outbox = OutboxWriter(tmp_path / "outbox", SystemClock())
    world.served.gateway.app._runtime.books = Books(outbox)
    proxy, port = await bench.proxy(world.served.port)
    proxy.set_rules([cut])
    async with client_of(world, port) as client:
        made = client.chat.completions.with_raw_response
        answer = await made.create(model="llama", messages=HELLO, extra_headers=KEYED)
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.retries_taken == 1
    assert answer.parse().choices[0].message.content
    assert world.upstream.asked == 1
    await world.settle()
    outbox.close()
    facts = [decode(payload) for payload in payloads(OutboxReader(tmp_path / "outbox").read(1_000))]
    assert len([fact for fact in facts if isinstance(fact, Intent)]) == 1
    assert [len(fact.attempts) for fact in facts if isinstance(fact, End)].count(1) == 1


async def test_a_client_that_ran_out_of_patience_gets_the_answer_it_left(open_world: Open) -> None:
    world = await open_world()
    world.upstream.script(Fault(ttft=1.0), times=1)
    async with client_of(world, world.served.port, timeout=0.4, max_retries=5) as client:
        made = client.chat.completions.with_raw_response
        answer = await made.create(model="llama", messages=HELLO, extra_headers=KEYED)
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.parse().choices[0].message.content
    assert world.upstream.asked == 1
    left = [record for record in world.served.records.all if record.outcome == "client_left"]
    assert [record.status for record in left] == [499]


async def test_a_stream_whose_beginning_was_lost_is_had_again(open_world: Open, bench: Any) -> None:
    world = await open_world()
    proxy, port = await bench.proxy(world.served.port)
    proxy.set_rules([Cut(before_headers=True, how="rst", connections=(1,))])
    async with client_of(world, port, max_retries=5) as client:
        stream = await client.chat.completions.create(
            model="llama", messages=HELLO, stream=True, extra_headers=KEYED, max_tokens=4
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text
    assert world.upstream.asked == 1


async def test_a_conflict_is_told_and_not_tried_again(open_world: Open) -> None:
    world = await open_world()
    async with client_of(world, world.served.port) as client:
        await client.chat.completions.create(model="llama", messages=HELLO, extra_headers=KEYED)
        await world.settle()
        with pytest.raises(openai.ConflictError) as told:
            await client.chat.completions.create(model="llama", messages=HELLO, extra_headers=KEYED, max_tokens=3)
    assert told.value.code == "idempotency_conflict"
    assert [record.status for record in await world.served.records.wait(2)] == [200, 409]
