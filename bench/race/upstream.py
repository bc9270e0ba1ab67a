"""`python -m bench.race.upstream PORT [TICK_MS] [COUNT]`: the paced model server.

Answers a streamed request with COUNT chunks, one every TICK_MS to every open stream, the streams spread over PHASES so
that they do not beat together; any other request with one fixed completion. One loop, one timer for all streams.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import cast

import uvloop

PHASES = 20
PLAIN = (Path(__file__).parent / "plain.json").read_bytes()
PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(PLAIN),
    PLAIN,
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = {
    "id": "chatcmpl-abc123",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "llama",
    "choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}],
    "usage": None,
}


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNK = framed(b"data: " + json.dumps(EVENT).encode() + b"\n\n")


def last_chunk(count: int) -> bytes:
    """Usage, [DONE] and the end of the body."""
    usage = {"prompt_tokens": 120, "completion_tokens": count, "total_tokens": 120 + count}
    event = json.dumps({**EVENT, "choices": [], "usage": usage}).encode()
    return framed(b"data: " + event + b"\n\ndata: [DONE]\n\n") + b"0\r\n\r\n"


class Pacer:
    """All open streams and what each is still owed."""

    def __init__(self, tick: float, count: int) -> None:
        self._tick = tick
        self._count = count
        self._last = last_chunk(count)
        self._phases: list[dict[Server, int]] = [{} for _ in range(PHASES)]
        self._opened = 0

    def open(self, stream: "Server") -> None:
        self._opened += 1
        self._phases[self._opened % PHASES][stream] = self._count

    def drop(self, stream: "Server") -> None:
        for phase in self._phases:
            phase.pop(stream, None)

    async def run(self) -> None:
        """Serves one phase after the other, for ever."""
        loop = asyncio.get_running_loop()
        due, turn = loop.time(), 0
        while True:
            due += self._tick / PHASES
            await asyncio.sleep(max(0.0, due - loop.time()))
            turn = (turn + 1) % PHASES
            self._serve(self._phases[turn])

    def _serve(self, phase: "dict[Server, int]") -> None:
        for stream, left in list(phase.items()):
            if left:
                stream.write(CHUNK)
                phase[stream] = left - 1
            else:
                stream.write(self._last)
                del phase[stream]


class Server(asyncio.Protocol):
    """One connection; requests come one at a time."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pacer.drop(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or len(self._buffer) < end + 4 + _length(self._buffer[:end].lower()):
            return
        body, self._buffer = self._buffer[end + 4 :], b""
        if b'"stream": true' in body or b'"stream":true' in body:
            self.write(HEAD)
            self._pacer.open(self)
        else:
            self.write(PLAIN_ANSWER)

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


def _length(head: bytes) -> int:
    at = head.find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0


async def main(port: int, tick_ms: float = 20, count: int = 64) -> None:
    pacer = Pacer(tick_ms / 1000, count)
    await asyncio.get_running_loop().create_server(lambda: Server(pacer), "127.0.0.1", port, backlog=4096)
    await pacer.run()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *map(int, sys.argv[2:])))
