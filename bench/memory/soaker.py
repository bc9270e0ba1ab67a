"""`python -m bench.memory.soaker`: load of all kinds: one request in ten is cancelled, one in ten fails.

A process of its own on the load's CPU. The others are half plain, half streams. Prints counts as one JSON object; exits
1 when an answer was not of the kind that was due. One loop, one task per connection.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec
import uvloop

from bench.load.chunks import Writer
from bench.load.probe import content_length
from bench.stage import LOAD_CPU
from bench.stage.callers import Load

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENCE = 30.0


class Counts(msgspec.Struct):
    """Requests by how they ended; `wrong` ended otherwise than they should have."""

    plain: int = 0
    streamed: int = 0
    cancelled: int = 0
    failed: int = 0
    wrong: int = 0


class Soaker:
    """What all connections share."""

    def __init__(self, port: int, plain: Load, streamed: Load) -> None:
        self.counts = Counts()
        self._port = port
        self._plain, self._streamed = Writer(plain), Writer(streamed)
        self._number = 0

    async def run(self, until: float) -> None:
        """One connection, opened again whenever it ends."""
        loop = asyncio.get_running_loop()
        stream: Stream | None = None
        while loop.time() < until:
            stream = stream or await asyncio.open_connection("127.0.0.1", self._port)
            try:
                keep = await asyncio.wait_for(self._ask(*stream), PATIENCE)
            except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                self.counts.wrong += 1
                keep = False
            if not keep:
                _drop(stream)
                stream = None
        if stream is not None:
            _drop(stream)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection can be used again."""
        self._number += 1
        turn = self._number % 10
        if turn == 0:
            return await self._cancel(reader, writer)
        if turn == 5:
            return await self._fail(reader, writer)
        streamed = turn % 2 == 1
        writer.write((self._streamed if streamed else self._plain).next())
        status, body = await read_answer(reader)
        whole = status == 200 and (b"[DONE]" in body if streamed else body.endswith(b"}"))
        self.counts.wrong += not whole
        self.counts.streamed += streamed
        self.counts.plain += not streamed
        return True

    async def _cancel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(self._streamed.next())
        self.counts.wrong += not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        self.counts.cancelled += 1
        return False

    async def _fail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        cut = self._number % 20 == 5
        fault = b"fail-cut----" if cut else b"fail-status-"
        writer.write(self._streamed.next_as(fault))
        try:
            status, body = await read_answer(reader)
        except asyncio.IncompleteReadError:
            status, body = 200, b""  # a stream that broke may end without its end
        self.counts.wrong += (status != 200 or b"[DONE]" in body) if cut else status < 500
        self.counts.failed += 1
        return False


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and raw body. Raises IncompleteReadError when it ends early."""
    head = await reader.readuntil(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return int(head[9:12]), await reader.readuntil(b"\r\n0\r\n\r\n")
    return int(head[9:12]), await reader.readexactly(content_length(head))


def _drop(stream: Stream) -> None:
    stream[1].transport.abort()


async def soak(port: int, plain: Load, streamed: Load, connections: int, seconds: float) -> Counts:
    """All connections, for `seconds`."""
    soaker = Soaker(port, plain, streamed)
    until = asyncio.get_running_loop().time() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(soaker.run(until))
    return soaker.counts


def main() -> None:
    parser = argparse.ArgumentParser("bench.memory.soaker")
    parser.add_argument("--port", type=int, required=True)
    for name in ("plain", "streamed"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="NAME of NAME.heads and NAME.body")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    plain, streamed = load_at(options.plain), load_at(options.streamed)
    counts = uvloop.run(soak(options.port, plain, streamed, options.connections, options.seconds))
    print(msgspec.json.encode(counts).decode())
    sys.exit(1 if counts.wrong else 0)


def load_at(path: Path) -> Load:
    return Load(path.with_name(path.name + ".heads"), path.with_name(path.name + ".body"))


if __name__ == "__main__":
    main()
