"""One request at a time over a kept connection, timed: to see that somebody answers, and how soon while others load it.

Owns its socket. Blocking; one thread.
"""

import socket
import time
from typing import Self

from bench.load.sdk_headers import HEADERS
from bench.stage.callers import MARK, Load
from bench.stage.programs import PATIENCE, BenchError

HEALTH = ("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n" + f"user-agent: {HEADERS['user-agent']}\r\n\r\n").encode()


class Probe:
    """A connection that asks and waits. Use as a context manager. Raises OSError when the other end goes away."""

    def __init__(self, port: int, request: bytes, timeout: float = 30.0) -> None:
        self._request = request
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self) -> tuple[int, float]:
        """Status, and seconds until the first byte of the answer; a body without a length is not waited for."""
        began = time.perf_counter()
        self._socket.sendall(self._request)
        data = self._read()
        took = time.perf_counter() - began
        while b"\r\n\r\n" not in data:
            data += self._read()
        head, _, body = data.partition(b"\r\n\r\n")
        left = content_length(head) - len(body)
        while left > 0:
            left -= len(self._read())
        return int(head[9:12]), took

    def _read(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed before the answer was whole")
        return data


def content_length(head: bytes) -> int:
    """Of a response head; 0 when it does not say."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def first_request(load: Load) -> bytes:
    """A request of a load: the first key, and a body that says it is the first."""
    head = load.heads.read_bytes().partition(b"\r\n\r\n")[0]
    return head + b"\r\n\r\n" + load.body.read_bytes().replace(MARK.encode(), b"first-answer")


def await_answer(port: int, load: Load, patience: float = PATIENCE) -> None:
    """Returns once the first request of the load is answered 200. Raises BenchError when that does not happen."""
    end, request, last = time.monotonic() + patience, first_request(load), "nobody answered"
    while time.monotonic() < end:
        try:
            with Probe(port, request) as probe:
                status, _ = probe.ask()
        except OSError as error:
            last = str(error)
        else:
            if status == 200:
                return
            last = f"status {status}"
        time.sleep(0.2)
    raise BenchError(f"port {port} does not answer: {last}")
