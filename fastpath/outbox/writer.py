"""A worker's end of the outbox.

Owns: the stream of one process and the thread that syncs it. Does not own: what a record says (`facts`), who reads it
(`reader`). Concurrency: records are put by the event loop's thread; the sync thread alone touches files, and holds the
interpreter lock only between system calls.
"""

import os
import secrets
import threading
from pathlib import Path

from _native.arena import process_start
from _native.outbox import Appender
from fastpath.outbox.folder import OutboxError, Stream, open_folder
from fastpath.outbox.keeper import Keeper, Options
from scheduler.clock import Clock


class OutboxWriter:
    """Puts records where a kill of this process cannot reach them, and on the disk within `sync_every` seconds.

    Opening blocks until the first segments are written (8 MiB each). On a full or failing disk it opens all the same,
    refuses records and goes on trying. Raises OutboxError when the folder cannot be used at all. `token`: 64 random
    bits, for tests. `thread=False`: the owner calls `step`.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        options: Options | None = None,
        *,
        token: int | None = None,
        thread: bool = True,
    ) -> None:
        self._options = options or Options()
        pid = os.getpid()
        start = process_start(pid)
        if start is None:
            raise OutboxError("/proc does not show this process: the outbox needs it to tell who wrote what")
        self.stream = Stream(pid, start, secrets.randbits(64) if token is None else token)
        #: For compiled callers, which append without building bytes first.
        self.appender = Appender(self._options.hold)
        self._keeper = Keeper(open_folder(folder), self.stream, self.appender, self._options, clock)
        self._closing = threading.Event()
        self._over = False
        while self._keeper.step():
            pass
        self._thread = threading.Thread(target=self._run, name="outbox-sync") if thread else None
        if self._thread is not None:
            self._thread.start()

    def put(self, data: bytes) -> bool:
        """Appends a record. False: there is no room, or it is longer than 64 KiB. Never waits for the disk."""
        return self.appender.put(data)

    def put_opening(self, data: bytes) -> bool:
        """Appends the first Intent of a request, and holds room for its End. False: do not send the request."""
        return self.appender.put_opening(data)

    def put_closing(self, data: bytes) -> bool:
        """Appends the End of a request whose Intent was put with `put_opening`, in the room held for it."""
        return self.appender.put_closing(data)

    def let_go(self) -> None:
        """The request that `put_opening` began will write no End."""
        self.appender.let_go()

    @property
    def healthy(self) -> bool:
        """Whether a request may begin whose usage must not be lost: its Intent and its End fit, and syncs succeed."""
        return not self._over and not self._keeper.unsafe and self.appender.roomy

    @property
    def problem(self) -> str:
        """Why records may soon be refused, or lost with the power; "" when all is well."""
        return "the outbox is closed" if self._over else self._keeper.problem

    @property
    def backlog_bytes(self) -> int:
        """Bytes of all segments in the folder that were not acknowledged, when a new one was last asked for."""
        return self._keeper.backlog_bytes

    @property
    def appended(self) -> int:
        """Records that were put."""
        return self.appender.appended

    @property
    def refused(self) -> int:
        """Records that found no room."""
        return self.appender.refused

    @property
    def synced(self) -> int:
        """Records that the disk has. Those of bad segments that were written once more count again."""
        return self._keeper.synced

    @property
    def syncs(self) -> int:
        """Syncs that succeeded."""
        return self._keeper.syncs

    @property
    def bad_segments(self) -> int:
        """Segments given up because a sync failed."""
        return self._keeper.bad_segments

    def step(self) -> None:
        """What the thread does every `sync_every` seconds. Only without a thread."""
        while self._keeper.step():
            pass

    def close(self, timeout: float = 5.0) -> bool:
        """Ends the stream and syncs it. Blocks. False: the disk did not answer in time; records are where they were."""
        self._over = True
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        self._finish()
        return True

    def _run(self) -> None:
        try:
            while not self._closing.wait(self._options.sync_every):
                while self._keeper.step() and not self._closing.is_set():
                    pass
        finally:
            self._finish()

    def _finish(self) -> None:
        self._over = True
        self._keeper.finish()
