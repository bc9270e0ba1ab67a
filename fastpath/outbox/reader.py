"""The control plane's end of the outbox: records of all workers, each at least once, in each worker's order.

Owns: the folder's reading lock, the streams, the durable cursor, the removal of what was settled. Does not own: what a
record says (`facts`), settling it. Concurrency: one reader per folder, used by one thread at a time; every method may
wait for the disk, so an event loop calls them in a thread.
"""

import logging
import os
from pathlib import Path

import msgspec

from _native.arena import process_start
from fastpath.arena import boot_name
from fastpath.outbox.cursor import Cursor, Position, load_cursor, store_cursor
from fastpath.outbox.folder import OutboxError, Stream, list_drafts, list_segments, lock_folder, open_folder
from fastpath.outbox.quarantine import MOST, Quarantine
from fastpath.outbox.segment_file import Damage, Found
from fastpath.outbox.stream import Alive, StreamReader

_log = logging.getLogger("fastpath.outbox")


class Run(msgspec.Struct, frozen=True, gc=False):
    """Records that lay one behind the other in a segment."""

    segment: str  # the file's name
    found: list[Found]


class Batch(msgspec.Struct, frozen=True):
    """What one `read` gave. `cursor` is for `ack`, once all of it was settled; it may have moved without records."""

    runs: list[Run]
    damages: list[Damage]
    cursor: Cursor

    @property
    def count(self) -> int:
        """Records of all runs."""
        return sum(len(run.found) for run in self.runs)


class OutboxReader:
    """Reads on from the last cursor that was acknowledged. Raises OutboxError when the folder cannot be read.

    `alive`: whether the process of this number and start time lives (default: /proc).
    """

    def __init__(self, folder: Path, alive: Alive | None = None, quarantine_bytes: int = MOST) -> None:
        self._folder = open_folder(folder)
        self._lock = lock_folder(folder)
        self._alive = alive or _is_alive
        self._boot = boot_name()
        self._quarantine = Quarantine(folder, quarantine_bytes)
        self._streams: dict[Stream, StreamReader] = {}
        self._blocked: set[Stream] = set()
        self._turn = 0
        self._acked, fault = load_cursor(folder)
        if fault:
            _log.error("the outbox's cursor is of no use, all records come again: %s", fault)
        self._stored = dict(self._acked)
        #: Records given, lost (at least so many), regions that were no record, their bytes, unfinished ends.
        self.delivered = self.lost = self.damaged = self.damaged_bytes = self.torn = 0

    def read(self, most: int = 1000) -> Batch:
        """Up to `most` records that follow those of the last `read`; none when there are none yet. Never waits for one.

        Damaged regions are kept in the folder `quarantine`, counted, and gone over.
        """
        runs: list[Run] = []
        damages: list[Damage] = []
        left = most
        for stream in self._in_turn():
            if left > 0:
                left -= self._read_stream(stream, left, runs, damages)
        self.delivered += most - left
        return Batch(runs, damages, {stream.stream.name: stream.position for stream in self._streams.values()})

    def ack(self, cursor: Cursor) -> None:
        """Everything up to `cursor` is settled: removes the segments before it, then stores it, if anything changed.

        Raises OSError when it cannot be stored: reading goes on, and what was settled comes again after a restart.
        """
        for name, position in cursor.items():
            self._acked[name] = max(position, self._acked.get(name, Position()))
        left = list_segments(self._folder)
        for stream, sequences in left.items():
            self._remove_settled(stream, sequences)
        self._remove_drafts()
        names = {stream.name for stream in left}
        self._acked = {name: position for name, position in self._acked.items() if name in names}
        if self._acked != self._stored:
            store_cursor(self._folder, self._acked)
            self._stored = dict(self._acked)

    def close(self) -> None:
        """Gives the folder up. Nothing is acknowledged by it."""
        for stream in self._streams.values():
            stream.close()
        os.close(self._lock)

    def _in_turn(self) -> list[StreamReader]:
        """All streams, a different one first each time, so that a busy worker cannot hold up the others."""
        segments = list_segments(self._folder)
        for stream, sequences in sorted(segments.items()):
            if stream not in self._streams:
                position = self._acked.get(stream.name, Position())
                self._streams[stream] = StreamReader(self._folder, stream, position, self._boot, self._alive)
            self._streams[stream].see(sequences)
        for stream in self._streams.keys() - segments.keys():  # removed by a writer that ended
            self._streams.pop(stream).close()
        found = list(self._streams.values())
        self._turn += 1
        cut = self._turn % len(found) if found else 0
        return found[cut:] + found[:cut]

    def _read_stream(self, stream: StreamReader, most: int, runs: list[Run], damages: list[Damage]) -> int:
        """How many records it gave."""
        count = 0
        try:
            for item in stream.read(most):
                if isinstance(item, Damage):
                    damages.append(item)
                    self._count(item)
                else:
                    runs.append(Run(*item))
                    count += len(item[1])
        except (OutboxError, OSError) as error:
            if stream.stream not in self._blocked:
                _log.error("records of process %d cannot be read, others can: %s", stream.stream.pid, error)
            self._blocked.add(stream.stream)
        else:
            self._blocked.discard(stream.stream)
        return count

    def _count(self, damage: Damage) -> None:
        self.torn += damage.torn
        self.lost += damage.lost
        if damage.data:
            self.damaged += 1
            self.damaged_bytes += len(damage.data)
            self._quarantine.save(damage.segment, damage.offset, damage.data)

    def _remove_settled(self, stream: Stream, sequences: list[int]) -> None:
        acked = self._acked.get(stream.name, Position())
        reader = self._streams.get(stream)
        is_over = reader is not None and reader.finished and acked >= reader.position
        for sequence in sequences:
            if sequence < acked.sequence or is_over:
                (self._folder / stream.segment(sequence)).unlink(missing_ok=True)
        if is_over and reader is not None:
            reader.close()
            del self._streams[stream]

    def _remove_drafts(self) -> None:
        """Segments that dead writers had not finished."""
        for stream, name in list_drafts(self._folder):
            if not self._alive(stream.pid, stream.start) and stream not in self._streams:
                (self._folder / name).unlink(missing_ok=True)


def _is_alive(pid: int, start: int) -> bool:
    return process_start(pid) == start
