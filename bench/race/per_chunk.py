"""`python -m bench.race.per_chunk --pid PID --port PORT`: CPU microseconds per relayed chunk, streams held open.

A process of its own, on CPU 1. Prints one JSON object; exits 1 with the reason when the measurement is void.
"""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from bench.race.per_request import Void
from bench.race.proc import cpu_seconds, family, rss_mb
from bench.race.sdk_headers import HEADERS

HERE = Path(__file__).parent
SETTLE = 2.0
"""Seconds until all streams run."""
MERGED = 0.95
"""Fewer reads per chunk than this: somebody merges chunks."""


class Chunks(msgspec.Struct, kw_only=True):
    """What was measured; `begun` counts every request sent, those before and after the measured span too."""

    streams: int
    chunks: int
    begun: int
    chunks_per_s: float
    cpu_us: float
    cpu_percent: float
    ttfb_p50_ms: float
    ttfb_p99_ms: float
    reads_per_chunk: float
    rss_mb: float


class Tally:
    """Counts of all streams since the last `reset`."""

    def __init__(self) -> None:
        self.begun = 0
        self.reset()

    def reset(self) -> None:
        self.chunks = self.reads = self.lost = self.bad = 0
        self.ttfb: list[float] = []


class Stream(asyncio.Protocol):
    """One connection that asks again as soon as an answer is complete."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request = request
        self._tally = tally
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._tally.begun += 1
        self._asked, self._first, self._tail = time.perf_counter(), True, b""
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        tally = self._tally
        if self._first:
            self._first = False
            tally.ttfb.append(time.perf_counter() - self._asked)
            tally.bad += not data.startswith(b"HTTP/1.1 200")
        tally.reads += 1
        tally.chunks += data.count(b"data: ")
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n":
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.lost += 1


async def measure(pid: int, port: int, path: str, body: Path, key: str, streams: int, seconds: float) -> Chunks:
    """Holds the streams open for `seconds`; `pid` is the root of the processes that are counted. Raises Void."""
    loop = asyncio.get_running_loop()
    tally, request = Tally(), make_request(path, body.read_bytes(), key)
    for _ in range(streams):
        await loop.create_connection(lambda: Stream(request, tally), "127.0.0.1", port)
    await asyncio.sleep(SETTLE)
    pids = family(pid)
    tally.reset()
    cpu, began = cpu_seconds(pids), time.time()
    await asyncio.sleep(seconds)
    used, span = cpu_seconds(pids) - cpu, time.time() - began
    check(tally, set(pids) - set(family(pid)))
    ttfb = sorted(tally.ttfb) or [0.0]
    return Chunks(
        streams=streams,
        chunks=tally.chunks,
        begun=tally.begun,
        chunks_per_s=tally.chunks / span,
        cpu_us=used / tally.chunks * 1e6,
        cpu_percent=used / span * 100,
        ttfb_p50_ms=ttfb[len(ttfb) // 2] * 1e3,
        ttfb_p99_ms=ttfb[int(len(ttfb) * 0.99)] * 1e3,
        reads_per_chunk=tally.reads / tally.chunks,
        rss_mb=rss_mb(pids),
    )


def check(tally: Tally, ended: set[int]) -> None:
    """Raises Void when the counts are not worth dividing."""
    if ended:
        raise Void("a counted process ended during the run")
    if tally.lost or tally.bad or not tally.chunks:
        raise Void(f"{tally.lost} streams lost, {tally.bad} refused, {tally.chunks} chunks")
    if tally.reads / tally.chunks < MERGED:
        raise Void(f"{tally.reads / tally.chunks:.2f} reads per chunk: somebody merges chunks")


def make_request(path: str, body: bytes, key: str) -> bytes:
    fields = {"host": "127.0.0.1", "content-type": "application/json", "authorization": f"Bearer {key}"}
    fields |= {"content-length": str(len(body)), **HEADERS}
    head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def main() -> None:
    parser = argparse.ArgumentParser("bench.race.per_chunk")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--body", type=Path, default=HERE / "request_stream.json")
    parser.add_argument("--key", default="sk-test-1234567890")
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    try:
        print(msgspec.json.encode(uvloop.run(measure(**vars(options)))).decode())
    except Void as void:
        sys.exit(f"void: {void}")


if __name__ == "__main__":
    main()
