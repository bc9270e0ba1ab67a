"""Slots and the prefix cache."""

import asyncio

import pytest

from backends.mock import Fault
from backends.mock.prefix import BLOCK_BYTES, PrefixCache
from backends.mock.slots import Slots
from backends.mock.tokens import TOKEN_BYTES


async def test_slots_serve_in_order_of_arrival():
    slots = Slots(1)
    order = []

    async def work(name):
        waited = await slots.take()
        order.append((name, waited))

    tasks = [asyncio.ensure_future(work(name)) for name in "abc"]
    await asyncio.sleep(0)
    assert (slots.running, slots.waiting, order) == (1, 2, [("a", False)])
    slots.give()
    slots.give()
    await asyncio.gather(*tasks)
    assert order == [("a", False), ("b", True), ("c", True)]
    slots.give()
    assert (slots.running, slots.waiting) == (0, 0)


@pytest.mark.parametrize("given", [True, False])
async def test_a_cancelled_wait_loses_no_slot(given):
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.ensure_future(slots.take())
    await asyncio.sleep(0)
    if given:
        slots.give()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not given:
        slots.give()
    assert (slots.running, slots.waiting) == (0, 0)


async def test_requests_above_the_slots_wait(start, chat_of):
    mock = await start(slots=2, tokens=2)
    stalled = [await mock.send(chat_of(Fault(stall_after=1), stream=True)) for _ in range(2)]
    for tap in stalled:
        await tap.until(lambda raw: b"data: " in raw)
    third, fourth = await mock.send(chat_of(text="3")), await mock.send(chat_of(text="4"))
    assert await third.silent()
    assert mock.server.running == 2
    stalled[0].transport.abort()
    await third.until(lambda raw: raw.endswith(b"}"))
    await fourth.until(lambda raw: raw.endswith(b"}"))
    ended = [record.id for record in await mock.server.wait_records(3)]
    assert ended == [1, 3, 4]


async def test_ttft_counts_from_the_slot(start, chat_of):
    mock = await start(slots=1, ttft=0.1, tokens=1)
    taps = [await mock.send(chat_of(text=str(number))) for number in range(3)]
    await taps[-1].until(lambda raw: raw.endswith(b"}"))
    records = await mock.server.wait_records(3)
    gaps = [records[at + 1].head_sent - records[at].head_sent for at in range(2)]
    assert gaps == pytest.approx([0.1, 0.1], abs=0.03)


def test_prefix_cache_counts_whole_blocks():
    cache = PrefixCache(100)
    prompt = bytes(range(256)) * 2
    assert cache.admit(prompt) == 0
    assert cache.admit(prompt[: BLOCK_BYTES * 3] + b"other" * 50) == 3 * 16
    assert cache.admit(b"x" + prompt) == 0, "a block counts only behind the same blocks"
    assert cache.admit(prompt) == (len(prompt) // BLOCK_BYTES - 1) * 16, "the last token is always computed"
    assert cache.admit(prompt + b"y") == len(prompt) // TOKEN_BYTES


def test_prefix_cache_forgets_the_least_recently_used():
    cache = PrefixCache(4)
    first, second, third = (bytes([letter]) * BLOCK_BYTES * 2 + b"z" for letter in b"abc")
    cache.admit(first)
    cache.admit(second)
    assert cache.admit(first) == 32
    cache.admit(third)
    assert len(cache) == 4
    assert cache.admit(first) == 32
    assert cache.admit(second) == 0


async def test_prefix_cache_reports_and_shortens(start):
    mock = await start(prefix_cache=True, ttft=0.2, tokens=1, input_price=100, cached_price=10)
    text = "word " * 200
    cold, warm = await mock.chat(text=text), await mock.chat(text=text + "and more")
    usage = warm.json["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cold.json["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert cached % 16 == 0
    assert usage["prompt_tokens"] - cached < 20
    first, second = await mock.server.wait_records(2)
    assert first.head_sent - first.received == pytest.approx(0.2, abs=0.03)
    expected = 0.2 * (1 - cached / usage["prompt_tokens"])
    assert second.head_sent - second.received == pytest.approx(expected, abs=0.03)
    assert second.charge == (usage["prompt_tokens"] - cached) * 100 + cached * 10


async def test_without_the_cache_nothing_is_cached(start):
    mock = await start(tokens=1)
    for _ in range(2):
        reply = await mock.chat(text="word " * 200)
    assert reply.json["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
