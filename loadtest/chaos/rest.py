"""The stage at rest: whether it is ready, whether nothing is left over, and what its processes hold.

Owns the looks at the gateway from outside. Does not judge. Concurrency: one event loop.
"""

import asyncio
from collections.abc import AsyncIterator

from loadtest.chaos.stage import WORKERS, Stage, fetch
from loadtest.checker import baseline
from loadtest.checker.history import History, Sample
from loadtest.checker.sample import sample
from scheduler.clock import Clock

LOOK_S = 0.25
READY_WITHIN_S = 20.0
BACK_WITHIN_S = 30.0
"""Half of what J8 allows: a run must end."""


async def wait_ready(stage: Stage) -> str:
    """Until all workers take requests and serve the newest settings; "" or what is missing."""
    async for ready in _looks(READY_WITHIN_S):
        missing = await _missing(stage)
        if not missing or not ready:
            return missing
    return ""


async def _missing(stage: Stage) -> str:
    if len(stage.node.workers()) != WORKERS or b" 200 " not in (await fetch(stage.node.admin_port, "/readyz"))[:20]:
        return "not all workers are ready again"
    model = f"generation-{stage.generation}"
    head = (await fetch(stage.node.port, f"/v1/models/{model}"))[:20]
    return "" if b" 200 " in head else f"the newest settings are not served: no model {model}"


async def wait_empty(stage: Stage) -> str:
    """Until no request is in flight and no connection open; "" or what is left."""
    async for waiting in _looks(READY_WITHIN_S):
        body = (await fetch(stage.node.admin_port, "/debug/requests")).partition(b"\r\n\r\n")[2]
        left = f"requests in flight: {body.decode()}" if b'"id"' in body else _open(stage)
        if not left or not waiting:
            return left
    return ""


def _open(stage: Stage) -> str:
    proxies = {"callers": stage.front, **{f"model server {leg.name}": leg.proxy for leg in stage.legs}}
    held = [f"{proxy.open} to {name}" for name, proxy in proxies.items() if proxy.open]
    return f"open connections: {', '.join(held)}" if held else ""


async def wait_back(stage: Stage, before: list[Sample], clock: Clock) -> list[Sample]:
    """Samples from now on until J8 holds, or BACK_WITHIN_S are over."""
    after: list[Sample] = []
    async for _ in _looks(BACK_WITHIN_S):
        after += gauges(stage, clock)
        if not baseline.check(History(before=before, after=after)):
            break
    return after


def gauges(stage: Stage, clock: Clock) -> list[Sample]:
    """The supervisor, and the workers as one: chaos replaces them, their number stays."""
    workers = [sample("workers", pid, clock) for pid in stage.node.workers()]
    total = Sample(process="workers", at=clock.now())
    for gauge in baseline.GAUGES:
        setattr(total, gauge, sum(getattr(one, gauge) or 0 for one in workers))
    return [sample("supervisor", stage.node.pid, clock), total]


async def _looks(seconds: float) -> AsyncIterator[bool]:
    """Comes round every LOOK_S; False once the time is over, and then no more."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        yield True
        await asyncio.sleep(LOOK_S)
    yield False
