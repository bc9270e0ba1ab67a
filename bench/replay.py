"""A fixed number of requests, or of streams, through one worker's gateway, without sockets.

The native door's connection on one side, a kept upstream connection on the other, both on transports that only count
what they are given. What remains is our own code and nothing of the kernel's, so that it can be counted in instructions
(bench.gates.instructions) where time is noise. Settings are those of bench/everything-on.yaml: 1,000 keys, no two
bodies alike, metrics on, and every record written as its line of the access log. One loop, one thread.

`python -m bench.replay requests` (or `streams`) prints the microseconds of the best of some rounds.
"""

import argparse
import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from _native.arena import Sizes, layout_size
from _native.door import CallerConnection
from _native.jsonlines import JsonLines
from _native.jsonscan import scan
from _native.relay import Connection
from bench.stage.callers import BODIES, COUNT, MARK, Callers, head, make_body
from bench.stage.gateway import Plan, fill
from bench.stage.model_server import CHUNK, HEAD, last_chunk
from fastpath.app import App
from fastpath.door.native import NativeDoor
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.lag import Tick
from fastpath.observe.metrics import Metrics, private_arena
from fastpath.process.node_map import sizes_for
from fastpath.process.worker import tune_interpreter
from fastpath.record import DecisionRecord
from fastpath.relay.fields import WANTED
from fastpath.settings import Settings
from fastpath.settings.token import KeyHasher
from scheduler.clock import SystemClock

CHUNKS = 64
"""Chunks of a stream, one per read, before the read that ends it."""
BODY = {"requests": "request", "streams": "request_stream"}
PEPPER = bytes(range(32))
URL = "http://127.0.0.1:9001/v1"
ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:05:03 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n"
)


class CountingTransport:
    """Takes bytes and forgets them. `blanks`: bytes that a kernel of ours reads at every write: a planted slowdown."""

    def __init__(self, blanks: int) -> None:
        self.taken = 0
        self._blanks = b" " * blanks

    def write(self, data: bytes) -> None:
        if self._blanks:
            scan(self._blanks)
        self.taken += len(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        """Has no buffer."""

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 40_000) if name == "peername" else None

    def close(self) -> None:
        raise AssertionError("the gateway closed a connection")

    abort = pause_reading = resume_reading = close


class WrittenRecords:
    """Writes each record as its line of the access log and keeps nothing but counts."""

    def __init__(self) -> None:
        self.complete = self.others = 0
        self._lines = JsonLines()

    def put(self, record: DecisionRecord) -> None:
        record.write_line(self._lines)
        if b'"outcome":"complete"' in self._lines.take():
            self.complete += 1
        else:
            self.others += 1


class Replay:
    """One gateway, one connection of a caller and one of a model server. Made on a running loop."""

    def __init__(self, mode: str, state: Path, blanks: int = 0) -> None:
        callers, body = fixed_callers(state), make_body(BODY[mode])
        self._requests = [write_request(token, body, n) for n, token in enumerate(callers.tokens)]
        self._reads = stream_reads() if mode == "streams" else [plain_answer()]
        self.records = WrittenRecords()
        app = make_app(callers, self.records)
        assert isinstance(app._door, NativeDoor)
        self._caller = CallerConnection(app._door)
        self._caller.connection_made(CountingTransport(blanks))
        self._server = keep_connection(app, CountingTransport(blanks))

    def run(self, count: int) -> None:
        """Sends `count` requests, each as soon as the one before is answered."""
        ask, answer, requests = self._caller.data_received, self._server.data_received, self._requests
        for n in range(count):
            ask(requests[n % COUNT])
            for read in self._reads:
                answer(read)


def fixed_callers(state: Path) -> Callers:
    """The same keys in every run: what is hashed and looked up is part of what is counted."""
    hasher = KeyHasher(PEPPER)
    (state / "pepper").write_bytes(PEPPER)
    (state / "pepper").chmod(0o600)
    secrets = [hashlib.blake2b(b"%d" % n, digest_size=36).hexdigest() for n in range(COUNT)]
    tokens = tuple(f"fp-{secret[:8]}-{secret[8:]}" for secret in secrets)
    return Callers(state, tokens, tuple(hasher.hash_text(token) for token in tokens))


def write_request(token: str, body: bytes, number: int) -> bytes:
    """A request as the official client sends it, its body unlike that of any other number."""
    return head(token, len(body)).encode() + body.replace(MARK.encode(), b"%012d" % number)


def plain_answer() -> bytes:
    """What nginx answers in the race."""
    body = (BODIES / "plain.json").read_bytes()
    return ANSWER_HEAD % len(body) + body


def stream_reads() -> list[bytes]:
    """What the paced model server of the race answers, as it arrives."""
    return [HEAD, *[CHUNK] * CHUNKS, last_chunk(CHUNKS)]


def make_app(callers: Callers, records: WrittenRecords) -> App:
    """The gateway as a worker makes it."""
    settings = msgspec.convert(fill(Plan((URL,)), callers, Path(os.devnull)), Settings)
    clock, loop = SystemClock(), asyncio.get_running_loop()
    tick = Tick(loop, clock, lambda lag: None)
    return App(
        settings, Metrics(private_arena(sizes_for(1))), records, MemoryBudget(settings.limits.memory), tick, clock
    )


def keep_connection(app: App, transport: CountingTransport) -> Connection:
    """A connection to the model server as if a socket had been opened and an exchange had left it idle."""
    (backend,) = app._backends.values()
    connection = Connection(backend.pool, WANTED)
    connection.connection_made(transport)
    connection.idle_since = SystemClock().monotonic()
    backend.pool._live.add(connection)
    backend.pool._idle.append(connection)
    return connection


def mark() -> None:
    """Enters a function of ours that serves no request: callgrind sets its counts to zero there."""
    layout_size(Sizes())


async def measure(options: argparse.Namespace) -> float:
    """Microseconds per request of the best round. Raises AssertionError when an answer was not complete."""
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        replay = Replay(options.mode, Path(folder), options.plant)
    warm_up = max(COUNT, options.count // 5)  # each caller once: what is made for a caller is made then
    replay.run(warm_up)
    tune_interpreter()
    mark()
    best = min(timed(replay, options.count) for _ in range(options.rounds))
    assert (replay.records.complete, replay.records.others) == (warm_up + options.count * options.rounds, 0)
    return best * 1e6


def timed(replay: Replay, count: int) -> float:
    """Seconds per request, of `count`."""
    began = time.perf_counter()
    replay.run(count)
    return (time.perf_counter() - began) / count


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("bench.replay")
    parser.add_argument("mode", nargs="?", default="requests", choices=BODY)
    parser.add_argument("--count", type=int, default=1_000, help="requests (or streams) per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="(%(default)s)")
    parser.add_argument("--plant", type=int, default=0, metavar="N", help="make every write slower: it reads N blanks")
    options = parser.parse_args(arguments)
    print(f"{uvloop.run(measure(options)):.2f} us")


if __name__ == "__main__":
    main()
