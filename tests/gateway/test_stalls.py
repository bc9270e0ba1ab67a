"""A loop that stood still: what came meanwhile counts, and deadlines hold all the same."""

import asyncio
import socket
import time
from typing import Any

from loadtest.rig import Bench, chat

PATIENCE = 0.3  # seconds that a body may pause


async def begin(bench: Bench, upstream: Any) -> socket.socket:
    """A caller that has sent all of its request but the end, and that was heard."""
    served = await bench.gateway(upstream.url, timeouts={"client_body": PATIENCE})
    channel = socket.create_connection(("127.0.0.1", served.port))
    channel.setblocking(False)
    channel.sendall(chat()[:-10])
    await asyncio.sleep(PATIENCE / 2)
    return channel


async def first_line(channel: socket.socket) -> bytes:
    async with asyncio.timeout(30):
        return (await asyncio.get_running_loop().sock_recv(channel, 1 << 16)).partition(b"\r\n")[0]


async def test_what_came_meanwhile_is_read_before_anybody_is_late(bench: Bench) -> None:
    channel = await begin(bench, await bench.mock())
    with channel:
        channel.sendall(chat()[-10:])
        time.sleep(2 * PATIENCE)  # nobody looks for so long
        assert await first_line(channel) == b"HTTP/1.1 200 OK"


async def test_a_loop_that_is_always_late_still_has_deadlines(bench: Bench) -> None:
    channel = await begin(bench, await bench.mock())
    loop = asyncio.get_running_loop()

    def stand_still() -> None:
        nonlocal again
        time.sleep(0.35)
        again = loop.call_later(0.02, stand_still)

    again = loop.call_soon(stand_still)
    with channel:
        line = await first_line(channel)
        again.cancel()
    assert line.startswith(b"HTTP/1.1 408 ")
