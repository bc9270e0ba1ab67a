"""`python -m bench.stage.model_server PORT`: a model server whose only virtue is its pace.

A streamed request is answered by COUNT chunks of about 210 bytes. PACE says when: `paced`, one every TICK ms, the
streams spread over PHASES so that they do not beat together; `eager`, the same but the first at once; `hold`, the first
and then nothing; `firehose`, as fast as they are taken, without end. Any other request is answered with one fixed
completion. A body with `fail-status` in it is answered 500; one with `fail-cut` gets one chunk and a reset. With CERT,
all of it over TLS. One loop, one timer for all streams.
"""

import argparse
import asyncio
import json
import ssl
from pathlib import Path
from typing import cast

import uvloop

PHASES = 20
POUR = 16
"""Chunks of a firehose per write."""
PLAIN = (Path(__file__).parent / "bodies" / "plain.json").read_bytes()
PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(PLAIN),
    PLAIN,
)
ERROR = b'{"error":{"message":"made to fail","type":"server_error","param":null,"code":null}}'
FAILURE = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ERROR),
    ERROR,
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


def next_due(due: float, now: float, tick: float) -> float:
    """When the phase after the one that was due is. Who was kept from it makes up for half a tick and no more: else a
    stream gets its chunks in a burst afterwards, which readers then find merged."""
    return max(due + tick / PHASES, now - tick / 2)


class Pacer:
    """All open streams and what each is still owed."""

    def __init__(self, pace: str, tick: float, count: int) -> None:
        self.pace = pace
        self._tick = tick
        self._count = count
        self._last = last_chunk(count)
        self._phases: list[dict[Server, int]] = [{} for _ in range(PHASES)]
        self._opened = self._turn = 0

    def open(self, stream: "Server") -> None:
        """Begins a stream at the pace of all."""
        if self.pace == "paced":
            self._opened += 1
            self._phases[self._opened % PHASES][stream] = self._count
            return
        stream.write(CHUNK)
        if self.pace == "eager":
            self._phases[self._turn][stream] = self._count - 1  # its next one is due when this phase is again
        elif self.pace == "firehose":
            stream.pour()

    def drop(self, stream: "Server") -> None:
        for phase in self._phases:
            phase.pop(stream, None)

    async def run(self) -> None:
        """Serves one phase after the other, for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = next_due(due, loop.time(), self._tick)
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._turn = (self._turn + 1) % PHASES
            self._serve(self._phases[self._turn])

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
        self._need = 0
        self._pouring = self._full = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pouring = False
        self._pacer.drop(self)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._pouring:
            self.pour()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < self._need:
            return
        end = self._buffer.find(b"\r\n\r\n")
        self._need = 0 if end < 0 else end + 4 + _length(self._buffer[:end].lower())
        if end < 0 or len(self._buffer) < self._need:
            return
        body, self._buffer, self._need = self._buffer[end + 4 :], b"", 0
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        if b"fail-status" in body:
            self.write(FAILURE)
        elif b"fail-cut" in body:
            assert self._transport is not None
            self.write(HEAD + CHUNK)
            asyncio.get_running_loop().call_later(0.005, self._transport.abort)
        elif b'"stream": true' in body or b'"stream":true' in body:
            self.write(HEAD)
            self._pacer.open(self)
        else:
            self.write(PLAIN_ANSWER)

    def pour(self) -> None:
        """Writes until the connection is full, then again when it has room; other connections have their turns."""
        self._pouring = True
        self.write(CHUNK * POUR)
        if not self._full:
            asyncio.get_running_loop().call_soon(self._pour_on)

    def _pour_on(self) -> None:
        if self._pouring and not self._full:
            self.pour()

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


def _length(head: bytes) -> int:
    at = head.find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0


async def serve(port: int, pace: str, tick_ms: float, count: int, cert: Path | None) -> None:
    """Serves until the process is ended."""
    pacer, context = Pacer(pace, tick_ms / 1000, count), None
    if cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Server(pacer), "127.0.0.1", port, backlog=4096, ssl=context)
    await pacer.run()


def main() -> None:
    parser = argparse.ArgumentParser("bench.stage.model_server")
    parser.add_argument("port", type=int)
    parser.add_argument("--pace", choices=("paced", "eager", "hold", "firehose"), default="paced")
    parser.add_argument("--tick-ms", type=float, default=20)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--cert", type=Path)
    uvloop.run(serve(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
