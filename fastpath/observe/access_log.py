"""Access-log lines leave through one thread over a bounded ring: a blocked pipe blocks that thread and nothing else.

Owns: the ring, the thread, its descriptor and exact counts of lines written and dropped. Does not: choose what a
record holds. Concurrency: `put` and `kick` belong to the event loop; the thread alone encodes and writes; between them
are a deque, whose append and popleft are atomic, and one event. A record must not change after it was put.
"""

import logging
import os
import select
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

_log = logging.getLogger("fastpath.access")

# A pipe takes up to PIPE_BUF bytes whole or not at all, so the lines of several workers never mix. Small batches also
# bound how long the thread keeps the interpreter lock: about a dozen lines, 20 us, until os.write gives it up.
BATCH: Final = select.PIPE_BUF
# A file takes any append whole: about 40 lines, 35 us, and a quarter of the system calls.
FILE_BATCH: Final = 16 * 1024
_LOOK_AGAIN: Final = 50  # milliseconds between looks at `close` while the other end does not read


class Records(Protocol):
    """Where a request's record goes. `put` never blocks."""

    def put(self, record: object) -> None: ...

    def kick(self) -> None: ...

    def close(self, timeout: float) -> None: ...

    @property
    def written(self) -> int: ...

    @property
    def dropped(self) -> int: ...


class NoRecords:
    """The access log that is off."""

    __slots__ = ()
    written = 0
    dropped = 0

    def put(self, record: object) -> None:
        """Forgets the record."""

    def kick(self) -> None:
        """Has nothing to wake."""

    def close(self, timeout: float) -> None:
        """Has nothing to flush."""


class RecordWriter:
    """Writes records as lines to a file descriptor (kept open) or to a path (appended to, made with mode 0600).

    `capacity` is the ring's size in records; when it is full, new records are dropped and counted. `encode` turns a
    record into one line without its newline, on the thread. After `close`, written + dropped equals the records put.
    Raises OSError when the target cannot be opened.
    """

    def __init__(self, target: int | str, capacity: int, encode: Callable[[object], bytes]) -> None:
        self._ring: deque[object] = deque()
        self._capacity = capacity
        self._half = capacity // 2
        self._encode = encode
        self._output = _open_output(target)
        self._refused = 0
        self._lost = 0
        self._written = 0
        self._failing = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log")
        self._thread.start()

    @property
    def written(self) -> int:
        """Lines that the output took whole."""
        return self._written

    @property
    def dropped(self) -> int:
        """Records refused by a full ring, not encodable, or not taken by the output."""
        return self._refused + self._lost

    def put(self, record: object) -> None:
        """Queues one record, or counts it as dropped. Never blocks; makes no system call but at half of the ring."""
        waiting = len(self._ring)
        if waiting >= self._capacity:
            self._refused += 1
            return
        self._ring.append(record)
        if waiting == self._half:
            self._wake.set()

    def kick(self) -> None:
        """Wakes the thread if anything waits; the worker's tick calls it."""
        if self._ring:
            self._wake.set()

    def close(self, timeout: float) -> None:
        """Flushes for at most `timeout` seconds, counts what is left as dropped, and ends the thread.

        Nothing may be put any more. Blocks the caller: it belongs at the very end of a worker's life.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        self._abandon.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._empty_ring()
        self._empty_ring()
        self._output.close()

    def _empty_ring(self) -> None:
        batch: list[bytes] = []
        size = 0
        while self._ring:
            line = self._line(self._ring.popleft())
            if not line:
                continue
            if batch and size + len(line) > self._output.batch:
                self._write(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        self._write(batch)

    def _line(self, record: object) -> bytes:
        try:
            return self._encode(record) + b"\n"
        except Exception:  # whatever a record holds, the thread lives on
            self._lost += 1
            _log.exception("an access-log record could not be encoded")
            return b""

    def _write(self, batch: list[bytes]) -> None:
        data = b"".join(batch)
        sent = self._send(data)
        lines = len(batch) if sent == len(data) else data.count(b"\n", 0, sent)
        self._written += lines
        self._lost += len(batch) - lines

    def _send(self, data: bytes) -> int:
        """Bytes that the output took before it failed or the time to flush was over."""
        sent = 0
        while sent < len(data) and not self._abandon.is_set():
            try:
                sent += self._output.write(data[sent : sent + self._output.batch])
                self._failing = False
            except BlockingIOError:
                self._output.wait(_LOOK_AGAIN)
            except OSError as error:
                self._report(error)
                break
        return sent

    def _report(self, error: OSError) -> None:
        if not self._failing:
            _log.error("the access log cannot be written, lines are dropped: %s", error)
        self._failing = True


class _Output:
    """A descriptor of our own, which may be non-blocking without changing how other processes see theirs.

    batch: bytes to hand over in one write.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.batch = FILE_BATCH if stat.S_ISREG(os.fstat(fd).st_mode) else BATCH
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> int:
        """Raises BlockingIOError when nothing fits now."""
        return os.write(self._fd, data)

    def wait(self, milliseconds: int) -> bool:
        """Whether there was room within the time."""
        return bool(self._poll.poll(milliseconds))

    def close(self) -> None:
        os.close(self._fd)


class _SharedOutput(_Output):
    """A descriptor that others share and that cannot be opened anew: asks for room before it writes."""

    def write(self, data: bytes) -> int:
        if not self.wait(0):
            raise BlockingIOError
        return super().write(data)


class _SocketOutput(_Output):
    """Standard output as a socket, the way systemd gives it; a socket can refuse to block call by call."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._socket = socket.socket(fileno=fd)

    def write(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def close(self) -> None:
        self._socket.close()


def _open_output(target: int | str) -> _Output:
    if isinstance(target, str):
        return _Output(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
    mode = os.fstat(target).st_mode
    if stat.S_ISREG(mode):
        return _Output(os.dup(target))  # opened anew it would lose the offset that the processes share
    if stat.S_ISSOCK(mode):
        return _SocketOutput(os.dup(target))
    try:
        return _Output(os.open(f"/proc/self/fd/{target}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:  # no /proc, or another user's pipe
        return _SharedOutput(os.dup(target))
