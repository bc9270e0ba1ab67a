"""What happens to model servers, one after the other: kill -9, SIGSTOP, five-fold slowness, errors.

Owns the doing and its undoing. Concurrency: one coroutine; one server at a time is unwell.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loadtest.resilience.stage import TTFT, Server, Stage

#: Slower by this, as a machine whose accelerator is throttled or shared.
FACTOR = 5


async def kill(server: Server, seconds: float) -> None:
    await server.program.stop(signal.SIGKILL)
    await asyncio.sleep(seconds)
    await server.start()


async def hang(server: Server, seconds: float) -> None:
    server.program.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        server.program.send(signal.SIGCONT)


async def slow(server: Server, seconds: float) -> None:
    await server.script({"ttft": FACTOR * TTFT})
    await asyncio.sleep(seconds)
    await server.script()


async def fail(server: Server, seconds: float) -> None:
    await server.script({"status": 500})
    await asyncio.sleep(seconds)
    await server.script()


ACTS: Mapping[str, Callable[[Server, float], Awaitable[None]]] = MappingProxyType(
    {"kill": kill, "hang": hang, "slow": slow, "fail": fail}
)


@dataclass(frozen=True)
class Happened:
    """One fault. Wall-clock seconds."""

    kind: str
    server: int
    begin: float
    end: float


async def play(stage: Stage, seed: int, seconds: float, every: float, lasts: float) -> list[Happened]:
    """A fault about every so many seconds, each kind before one comes again; all within `seconds`."""
    rand, began, happened = random.Random(seed), time.monotonic(), []
    kinds: list[str] = []
    while True:
        kinds = kinds or rand.sample(sorted(ACTS), len(ACTS))
        kind, server, pause = kinds.pop(), rand.randrange(len(stage.servers)), every * rand.uniform(0.8, 1.2)
        if time.monotonic() - began + pause + lasts > seconds:
            return happened
        await asyncio.sleep(pause)
        begin = time.time()
        await ACTS[kind](stage.servers[server], lasts)
        happened.append(Happened(kind, server, begin, time.time()))
