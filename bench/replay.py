"""A fixed number of requests through one worker's gateway, without sockets: the native door's connection on one side,
a kept upstream connection on the other, both on transports that only count what they are given.

What remains is our own code and nothing of the kernel's, so that it can be counted in instructions (callgrind) where
time is noise. Run: `python -m bench.replay [requests]`; it prints the microseconds of the best of seven rounds.
"""

import asyncio
import gc
import sys
import time
from pathlib import Path

from _native.door import CallerConnection
from _native.relay import Connection
from bench.load.sdk_headers import HEADERS
from fastpath.app import App
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.lag import Tick
from fastpath.observe.metrics import Metrics
from fastpath.settings import Endpoint, Listen, Model, Settings
from scheduler.clock import SystemClock

FOLDER = Path(__file__).parent / "stage" / "bodies"
PEPPER = b"0123456789abcdef0123456789abcdef"


class CountingTransport:
    """Takes bytes and forgets them."""

    def __init__(self) -> None:
        self.taken = 0

    def write(self, data: bytes) -> None:
        self.taken += len(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.taken += sum(map(len, pieces))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        """Has no buffer."""

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 40_000) if name == "peername" else None

    def close(self) -> None:
        raise AssertionError("the gateway closed a connection")

    abort = close
    pause_reading = resume_reading = close


class ListRecords:
    """An access log that keeps nothing."""

    def __init__(self) -> None:
        self.count = 0

    def put(self, record: object) -> None:
        self.count += 1


class Replay:
    """One gateway, one caller, one model server."""

    def __init__(self) -> None:
        clock, metrics = SystemClock(), Metrics()
        loop = asyncio.get_running_loop()
        token = "fp-" + "0" * 8 + "-" + "1" * 64
        settings = Settings(
            listen=Listen(door="native"),
            models=(Model(name="llama", endpoints=(Endpoint(url="http://127.0.0.1:9001/v1"),)),),
        )
        self.records = ListRecords()
        self.app = App(settings, metrics, self.records, MemoryBudget(1 << 29), Tick(loop, clock, print), clock)
        self.caller, self.server = CountingTransport(), CountingTransport()
        self.connection = CallerConnection(self.app._door)
        self.connection.connection_made(self.caller)
        pool = next(iter(self.app._backends.values())).pool
        self.upstream = Connection(pool)
        self.upstream.connection_made(self.server)
        self.upstream.idle_since = clock.monotonic()
        pool._live.add(self.upstream)
        pool._idle.append(self.upstream)
        body = (FOLDER / "request.json").read_bytes()
        fields = {"Host": "127.0.0.1:8340", **HEADERS, "Authorization": f"Bearer {token}"}
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        head = "POST /v1/chat/completions HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        self.request = head.encode() + body
        answer = (FOLDER / "plain.json").read_bytes()
        self.answer = (
            b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:05:03 GMT\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n" % len(answer)
        ) + answer

    def stream(self, requests: int) -> None:
        """Streamed requests of 64 events, one event per read."""
        feed, answer = self.connection.data_received, self.upstream.data_received
        event = b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":1700000000,"model":"llama","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}],"usage":null,"system_fingerprint":"fp_0"}\n\n'
        chunk = b"%x\r\n%b\r\n" % (len(event), event)
        last = event.replace(b'"finish_reason":null', b'"finish_reason":"stop"')
        last += b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":64,"total_tokens":73}}\n\ndata: [DONE]\n\n'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        end = b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last)
        request = self.request.replace(b'"messages"', b'"stream":true,"messages"')
        request = request.replace(b"Content-Length: 909", b"Content-Length: %d" % (909 + 14))
        assert request != self.request
        for _ in range(requests):
            feed(request)
            answer(head)
            for _ in range(63):
                answer(chunk)
            answer(end)

    def run(self, requests: int) -> None:
        feed, answer = self.connection.data_received, self.upstream.data_received
        for _ in range(requests):
            feed(self.request)
            answer(self.answer)


async def main(requests: int, rounds: int) -> None:
    replay = Replay()
    replay.run(200)
    gc.collect()
    gc.freeze()
    gc.disable()
    best = 1e9
    for _ in range(rounds):
        began = time.perf_counter()
        (replay.stream if len(sys.argv) > 3 else replay.run)(requests)
        best = min(best, time.perf_counter() - began)
    assert replay.records.count == 200 + rounds * requests
    print(f"{best / max(requests, 1) * 1e6:.2f} us")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3])))
