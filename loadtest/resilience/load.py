"""Callers at a steady rate, whatever becomes of those before: an open loop, so that slowness cannot hide.

Owns the requests. Does not judge. Concurrency: one event loop, a task for each request.
"""

import asyncio
import time
from dataclasses import dataclass

from loadtest.rig.conversation import Conversation, chat

#: What a caller waits for an answer, s.
PATIENCE = 15.0


@dataclass(frozen=True)
class Visit:
    """One request. Wall-clock seconds; problem: "" when it was answered well."""

    began: float
    took: float
    problem: str


async def keep_asking(port: int, rate: float, seconds: float, *, streamed: float = 0.0) -> list[Visit]:
    """`rate` requests a second for so long; every n-th is streamed so that `streamed` of them are."""
    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        stream = int((number + 1) * streamed) > int(number * streamed)
        tasks.append(asyncio.create_task(_visit(port, stream)))
    return list(await asyncio.gather(*tasks))


async def _visit(port: int, stream: bool) -> Visit:
    began, at = time.time(), time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            problem = await _ask(port, stream)
    except (OSError, TimeoutError) as error:
        problem = f"{type(error).__name__}: {error}"
    return Visit(began, time.monotonic() - at, problem)


async def _ask(port: int, stream: bool) -> str:
    client = await Conversation.open(port)
    try:
        reply = await client.ask(chat(stream=stream))
    finally:
        client.leave()
    if reply.status != 200:
        return f"status {reply.status}"
    if not reply.whole or (stream and reply.done != 1):
        return "the answer broke off"
    return ""
