"""A share of a real model server's capacity: the mock, slowed down to half while requests run."""

import asyncio
import time

import pytest

from backends.mock.fault import Fault
from fastpath.settings import Endpoint, Model
from fastpath.settings.tenancy import Limit
from loadtest.rig import Bench, chat
from loadtest.rig.bench import Served, make_settings

CALLERS = 8
RATE = 100.0
"""Tokens per second of each request; an answer has ten of them."""


async def admitted(served: Served, seconds: float) -> float:
    """Requests per second that passed, of callers who ask again and again."""
    ends, passed = time.monotonic() + seconds, 0

    async def call() -> None:
        nonlocal passed
        while time.monotonic() < ends:
            reply = await served.ask(chat(max_tokens=10))
            passed += reply.status == 200
            if reply.status != 200:
                await asyncio.sleep(0.03)

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return passed / seconds


async def test_a_server_that_is_half_as_fast_is_asked_half_as_much_within_five_seconds() -> None:
    async with Bench() as bench:
        upstream = await bench.mock(tokens=10, rate=RATE)
        share = Limit(count="requests", share=0.5, per="second", most=1_000)
        endpoint = Endpoint(url=upstream.url, name="e", tier="L1")
        settings = make_settings((Model(name="llama", endpoints=(endpoint,), limits=(share,)),))
        served = await bench.serve(settings)
        await admitted(served, 4.0)  # first as many as there are, until something is measured
        before = await admitted(served, 3.0)
        upstream.script(Fault(rate=RATE / 2))
        await admitted(served, 5.0)
        after = await admitted(served, 3.0)
    assert before > 10
    assert after / before == pytest.approx(0.5, abs=0.17)
