"""Access-log lines leave through one thread: a blocked pipe blocks that thread and nothing else.

Owns: the lines that wait, the thread, its descriptor and exact counts of lines written and dropped. Does not: choose
what a record holds. Concurrency: `put` and `kick` belong to the event loop, which writes each record as text at once
(1 us; a thread that did it cost 1.9 us and a futex call for every few requests, measured); the thread takes whole
lines and hands them to the kernel.
"""

import logging
import os
import select
import socket
import stat
import threading
from collections.abc import Iterator
from typing import Final, Protocol

from _native.jsonlines import JsonLines

_log = logging.getLogger("fastpath.access")

# A pipe takes up to PIPE_BUF bytes whole or not at all, so the lines of several workers never mix.
BATCH: Final = select.PIPE_BUF
# A file takes any append whole.
FILE_BATCH: Final = 64 * 1024
_LOOK_AGAIN: Final = 50  # milliseconds between looks at `close` while the other end does not read


class Record(Protocol):
    """Something that is one line of a log."""

    def write_line(self, line: JsonLines) -> None: ...


class Records(Protocol):
    """Where a request's record goes. `put` never blocks and keeps nothing of the record."""

    def put(self, record: Record) -> None: ...

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

    def put(self, record: Record) -> None:
        """Forgets the record."""

    def kick(self) -> None:
        """Has nothing to wake."""

    def close(self, timeout: float) -> None:
        """Has nothing to flush."""


class RecordWriter:
    """Writes records as lines to a file descriptor (kept open) or to a path (appended to, made with mode 0600).

    `capacity` is how many lines may wait; beyond it new records are dropped and counted. After `close`, written +
    dropped equals the records put. Raises OSError when the target cannot be opened.
    """

    def __init__(self, target: int | str, capacity: int) -> None:
        self._lines = JsonLines()
        self._capacity = capacity
        self._half = capacity // 2
        self._output = _open_output(target)
        self._refused = 0
        self._lost = 0
        self._written = 0
        self._in_hand = 0  # lines that the thread took and has not written
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
        """Records that found no room, could not be written as a line, or were not taken by the output."""
        return self._refused + self._lost

    def put(self, record: Record) -> None:
        """Adds one record, or counts it as dropped. Never blocks; makes no system call but when half is full."""
        waiting = self._lines.count + self._in_hand
        if waiting >= self._capacity:
            self._refused += 1
            return
        try:
            record.write_line(self._lines)
        except Exception:  # whatever a record holds, the others are written
            self._lines.cancel()
            self._lost += 1
            _log.exception("a record could not be written as a line")
            return
        if waiting == self._half:
            self._wake.set()

    def kick(self) -> None:
        """Wakes the thread if anything waits; the worker's tick calls it."""
        if self._lines.count:
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
            self._empty()
        self._empty()
        self._output.close()

    def _empty(self) -> None:
        while self._lines.count:
            self._in_hand = self._lines.count  # by now there may be more, never fewer
            for piece in _pieces(self._lines.take(), self._output.batch):
                self._write(piece)
            self._in_hand = 0

    def _write(self, data: bytes) -> None:
        lines = data.count(b"\n")
        sent = self._send(data)
        whole = lines if sent == len(data) else data.count(b"\n", 0, sent)
        self._written += whole
        self._lost += lines - whole
        self._in_hand = max(0, self._in_hand - lines)

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


def _pieces(lines: bytes, size: int) -> Iterator[bytes]:
    """Whole lines, at most `size` bytes at a time; one that is longer goes alone."""
    at = 0
    while len(lines) - at > size:
        end = lines.rfind(b"\n", at, at + size) + 1 or lines.index(b"\n", at + size) + 1
        yield lines[at:end]
        at = end
    if at < len(lines):
        yield lines[at:]


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
