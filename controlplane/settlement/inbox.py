"""The outbox as the settlement service sees it: batches of facts, told apart from records that are none.

Owns the reader, its one thread (which all blocking calls are made in), the file of open requests, and the order in
which a batch is given up: open requests first, then the reader's cursor, so that a crash in between brings records
again and forgets none. Does not own what is done with facts. Concurrency: one task calls it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from _native.recall import Recall
from controlplane.alerts.facts import fault_of
from controlplane.ledger.quarantine import Poison
from controlplane.settlement.holders import Holders
from fastpath.money.price import Billable
from fastpath.outbox.cursor import Cursor
from fastpath.outbox.facts import Alert, Attempt, End, Fact, Intent, decode_message
from fastpath.outbox.folder import count_bytes, list_segments
from fastpath.outbox.reader import Batch, OutboxReader, Run

T = TypeVar("T")

_NO_FACT: Final = "it is no fact that this version knows"


class Load(msgspec.Struct):
    """One read: facts, each with the bytes that it came as, and what is none. `is_full`: there may be more at once."""

    cursor: Cursor
    is_full: bool
    facts: list[Fact] = []
    payloads: list[bytes] = []
    senders: list[tuple[str, list[Fact]]] = []  # the same facts by the stream that they came in
    poison: list[Poison] = []
    alerts: list[Alert] = []


class Counts(msgspec.Struct, frozen=True):
    """What the reader has seen since it was opened, and the bytes of all segments that are there."""

    records: int = 0
    lost: int = 0  # at least; damage
    damaged: int = 0  # regions that were no record
    torn: int = 0  # ends that a kill interrupted
    segment_bytes: int = 0


class _Opened(msgspec.Struct, frozen=True):
    reader: OutboxReader
    holders: Holders


class Inbox:
    """The outbox in `folder`. Opened by the first `read`; closed by whoever made it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "outbox-reader")
        self._opened: _Opened | None = None
        self._is_closed = False
        self._recall = Recall(decode_message, (Intent, End, Attempt, Billable))
        self.counts = Counts()

    async def read(self, most: int) -> Load:
        """What follows the last read. Raises OutboxError or OSError: nothing was taken then."""
        return await self._call(lambda: self._read(most))

    async def give_up(self, load: Load) -> None:
        """All of it is in the books: it need not come again. Raises OSError: then it comes again after a restart."""
        await self._call(lambda: self._give_up(load))

    async def find_over(self) -> dict[str, frozenset[bytes]]:
        """Streams that are over, read and given up to their end, with the requests they left open."""
        return await self._call(self._find_over)

    async def forget(self, streams: Sequence[str]) -> None:
        """What these streams left open is in the books. Raises OSError."""
        await self._call(lambda: self._forget(streams))

    async def without_holder(self, requests: Sequence[bytes]) -> list[bytes]:
        """Those of these requests that no stream here holds."""
        return await self._call(lambda: [one for one in requests if not self._open().holders.holds(one)])

    async def close(self) -> None:
        """Gives the folder up, after whatever the thread is at. Again: nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._call(self._close)
        self._thread.shutdown(wait=False)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> _Opened:
        if self._opened is None:
            reader = OutboxReader(self._folder)
            try:
                self._opened = _Opened(reader, Holders(self._folder))
            except OSError:
                reader.close()
                raise
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.reader.close()
            self._opened = None

    def _read(self, most: int) -> Load:
        reader = self._open().reader
        try:
            return self._sort(reader, reader.read(most), most)
        except BaseException:
            # It has moved on: the next cursor would give up what nobody was given. A new one begins where that ends.
            self._close()
            raise

    def _sort(self, reader: OutboxReader, batch: Batch, most: int) -> Load:
        self.counts = Counts(reader.delivered, reader.lost, reader.damaged, reader.torn, count_bytes(self._folder))
        load = Load(batch.cursor, batch.count >= most)
        for run in batch.runs:
            self._sort_run(run, load)
        return load

    def _sort_run(self, run: Run, load: Load) -> None:
        """Bytes that are no fact (text that is no UTF-8 and nesting without end are among them) are poison."""
        facts, payloads, others = self._recall.read_all(run.found, Alert)
        for payload, message in others:
            if message is None:
                load.poison.append(Poison(payload, _NO_FACT, 1))
            elif (fault := fault_of(message)) is not None:
                load.poison.append(Poison(payload, fault, 1))
            else:
                load.alerts.append(message)
        load.facts += facts
        load.payloads += payloads
        load.senders.append((run.segment.rpartition("-")[0], facts))  # its name is its stream's and a number

    def _give_up(self, load: Load) -> None:
        opened = self._open()
        for stream, facts in load.senders:
            opened.holders.note_all(stream, facts)
        opened.holders.store()
        opened.reader.ack(load.cursor)

    def _find_over(self) -> dict[str, frozenset[bytes]]:
        """The reader removes the last segment of a life when it is over and all of it was given up; not before."""
        holders = self._open().holders
        living = {stream.name for stream in list_segments(self._folder)}
        return {stream: holders.held_by(stream) for stream in holders.streams if stream not in living}

    def _forget(self, streams: Sequence[str]) -> None:
        holders = self._open().holders
        holders.drop(streams)
        holders.store()
