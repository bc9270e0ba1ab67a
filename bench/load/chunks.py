"""CPU per relayed chunk: streams held open against a paced model server.

`measure_chunks` runs this module as a process of its own on CPU 1, which prints one JSON object, or exits 1 with the
reason why the measurement is void. One uvloop loop, one protocol object per stream.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from bench.load.requests import new_seed
from bench.stage import LOAD_CPU
from bench.stage.callers import MARK, Load
from bench.stage.gateway import Subject
from bench.stage.proc import cpu_seconds, family, rss_mb
from bench.stage.programs import HOME, Void

APART = 0.003
"""Seconds between two streams that are opened: a proxy that has to shake hands with a model server for each of them, on
a machine with other work, is overloaded by a crowd, and may turn most of it away."""
SETTLE = 2.0
"""Seconds until all streams run."""
MERGED = 0.95
"""Fewer reads per chunk than this: somebody merges chunks."""


class Chunks(msgspec.Struct, kw_only=True):
    """What was measured; `begun` counts every request sent, those before the measured span too."""

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
    """Counts of all streams since the last `reset`; of requests, since the start. Once it is over nothing is asked."""

    def __init__(self) -> None:
        self.begun = 0
        self.over = False
        self.reset()

    def reset(self) -> None:
        self.chunks = self.reads = self.lost = self.bad = 0
        self.ttfb: list[float] = []


class Writer:
    """Requests, one after the other: the next key, and a body that was never sent before."""

    def __init__(self, load: Load) -> None:
        self._heads = [head + b"\r\n\r\n" for head in load.heads.read_bytes().split(b"\r\n\r\n")[:-1]]
        self._before, _, self._after = load.body.read_bytes().partition(MARK.encode())
        self._seed = new_seed().encode()
        self._numbers = count()

    def next(self) -> bytes:
        number = next(self._numbers)
        return self._compose(number, b"%b%08d" % (self._seed, number % 10**8))

    def next_as(self, text: bytes) -> bytes:
        """The next key's request with a text of twelve bytes where digits would be: one that is made to fail."""
        return self._compose(next(self._numbers), text)

    def _compose(self, number: int, text: bytes) -> bytes:
        return self._heads[number % len(self._heads)] + self._before + text + self._after


class Stream(asyncio.Protocol):
    """One connection that asks again as soon as an answer is complete."""

    def __init__(self, writer: Writer, tally: Tally) -> None:
        self._writer = writer
        self._tally = tally
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._tally.begun += 1
        self._asked, self._first, self._tail = time.perf_counter(), True, b""
        self._transport.write(self._writer.next())

    def data_received(self, data: bytes) -> None:
        tally = self._tally
        if self._first:
            self._first = False
            tally.ttfb.append(time.perf_counter() - self._asked)
            tally.bad += not data.startswith(b"HTTP/1.1 200")
        tally.reads += 1
        tally.chunks += data.count(b"data: ")
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n" and not tally.over:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.lost += 1


async def hold(pid: int, port: int, load: Load, streams: int, seconds: float, merged: float = MERGED) -> Chunks:
    """Holds the streams open for `seconds`; `pid` is the root of the processes that are counted. Raises Void."""
    loop = asyncio.get_running_loop()
    tally, writer = Tally(), Writer(load)
    for _ in range(streams):
        await loop.create_connection(lambda: Stream(writer, tally), "127.0.0.1", port)
        await asyncio.sleep(APART)
    await asyncio.sleep(SETTLE)
    if tally.lost or tally.bad:
        raise Void(f"{tally.lost} streams lost, {tally.bad} refused before it began")
    pids = family(pid)
    tally.reset()
    cpu, began = cpu_seconds(pids), time.monotonic()
    await asyncio.sleep(seconds)
    tally.over = True  # while the loop is closed down streams go on: what they ask then nobody would have counted
    used, span = cpu_seconds(pids) - cpu, time.monotonic() - began
    check(tally, set(pids) - set(family(pid)), merged)
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


def check(tally: Tally, ended: set[int], merged: float = MERGED) -> None:
    """Raises Void when the counts are not worth dividing. merged: fewest reads per chunk."""
    if ended:
        raise Void("a counted process ended during the run")
    if tally.lost or tally.bad or not tally.chunks:
        raise Void(f"{tally.lost} streams lost, {tally.bad} refused, {tally.chunks} chunks")
    if tally.reads / tally.chunks < merged:
        raise Void(f"{tally.reads / tally.chunks:.2f} reads per chunk: somebody merges chunks")


def measure_chunks(subject: Subject, load: Load, streams: int, seconds: float, merged: float = MERGED) -> Chunks:
    """Runs this module; the subject's CPU per chunk. Raises Void."""
    where = ["--pid", str(subject.pid), "--port", str(subject.port)]
    what = ["--heads", str(load.heads), "--body", str(load.body), "--streams", str(streams)]
    command = [
        sys.executable,
        "-m",
        "bench.load.chunks",
        *where,
        *what,
        "--seconds",
        str(seconds),
        "--merged",
        str(merged),
    ]
    environ = os.environ | {"PYTHONPATH": str(HOME)}
    done = subprocess.run(command, cwd=HOME, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Void(done.stderr.strip().removeprefix("void: ")[-500:])
    return msgspec.json.decode(done.stdout, type=Chunks)


def main() -> None:
    parser = argparse.ArgumentParser("bench.load.chunks")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--merged", type=float, default=MERGED)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    load = Load(options.heads, options.body)
    try:
        found = uvloop.run(hold(options.pid, options.port, load, options.streams, options.seconds, options.merged))
        print(msgspec.json.encode(found).decode())
    except Void as void:
        sys.exit(f"void: {void}")


if __name__ == "__main__":
    main()
