"""What callers see of name servers that do not answer. (Their answers, TTLs and failures: F16 in the fault matrix.)"""

import asyncio
import gc
from typing import Any

import pytest

from backends.http.resolver import Resolver
from scheduler.clock import ManualClock


class SilentQuery:
    """Answers once; later questions wait for `gate`, then fail."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()

    async def __call__(self, host: str) -> tuple[list[str], float]:
        self.asked += 1
        if self.asked > 1:
            await self.gate.wait()
            raise OSError("no answer")
        return ["192.0.2.1"], 10.0

    async def close(self) -> None:
        self.gate.set()


async def test_silent_name_servers_do_not_hide_the_last_good_address() -> None:
    """The same as failing ones: a connect time-out would end before their silence does."""
    query, clock = SilentQuery(), ManualClock()
    resolver = Resolver(query, clock)
    await resolver.addresses("model.test")
    clock.advance(10.1)
    async with asyncio.timeout(1.0):
        found = await asyncio.gather(*(resolver.addresses("model.test") for _ in range(5)))
    assert found == [["192.0.2.1"]] * 5
    assert query.asked == 2, "one question for all of them"
    clock.advance(9.9)
    waiting = asyncio.create_task(resolver.addresses("model.test"))
    await asyncio.sleep(0)
    query.gate.set()
    with pytest.raises(OSError, match="no answer"):
        await waiting
    await resolver.close()


async def test_a_failure_nobody_waited_for_is_not_reported() -> None:
    query = SilentQuery()
    query.asked = 1
    resolver = Resolver(query, ManualClock())
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await resolver.addresses("model.test")
    query.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert not reported
    await resolver.close()
