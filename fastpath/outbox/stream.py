"""The records of one writer's life, in order, over all its segments.

Owns: which segment comes next, when one is over, when the stream is. Does not own: the cursor, what becomes of damage
(`reader`). A segment is final once it is sealed, once the next one was begun, or once its writer is dead: only then
is what cannot be read taken for lost. Concurrency: one thread.
"""

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from _native.outbox import FIRST
from fastpath.outbox.cursor import Position
from fastpath.outbox.folder import Stream, list_segments
from fastpath.outbox.segment_file import Damage, Found, SegmentFile

Alive = Callable[[int, int], bool]


class StreamReader:
    """Reads a stream from a position on. `boot` and `alive` say whether its writer may still append."""

    def __init__(self, folder: Path, stream: Stream, position: Position, boot: bytes, alive: Alive) -> None:
        self._folder = folder
        self.stream = stream
        self._boot = boot
        self._alive = alive
        self._start = position
        self._file: SegmentFile | None = None
        self._sequences: list[int] = []
        #: Everything was read, and nothing will follow.
        self.finished = False

    @property
    def position(self) -> Position:
        """Behind the last record read."""
        return self._start if self._file is None else Position(self._file.sequence, self._file.offset)

    def see(self, sequences: list[int]) -> None:
        """Takes note of the segments that there are, ascending."""
        self._sequences = sequences

    def read(self, most: int) -> Iterator[tuple[str, list[Found]] | Damage]:
        """Up to `most` records with their segment's name, and the damage between them, in order, until none is left
        or none is there yet."""
        while most > 0 and not self.finished and self._open():
            file = self._file
            assert file is not None
            found = file.read(most)
            if found:
                most -= len(found)
                yield file.name, found
                continue
            damage = self._pass_gap(file)
            if isinstance(damage, Damage):
                yield damage
            elif not damage:
                return

    def close(self) -> None:
        if self._file is not None:
            self._start = self.position
            self._file.close()
            self._file = None

    def _pass_gap(self, file: SegmentFile) -> Damage | bool:
        """What to do where no record can be read: False: wait; True: go on; or go on behind damage."""
        damage = file.skip(None, is_final=False) if file.is_damaged() else None
        return damage or self._end(file)

    def _end(self, file: SegmentFile) -> Damage | bool:
        """Goes over to the next segment if this one is final and was read."""
        seal, dead = file.seal(), self._is_dead(file)
        if seal is None and not dead and not self._next_has_begun(file):
            return False
        if file.has_more():  # came before it was final
            return True
        end, last = seal or (None, False)
        damage = file.skip(end, is_final=True) if end is None or file.offset < end else None
        if damage is not None and not damage.torn:
            return damage
        if dead:  # what it did between the last look and its death
            self._sequences = list_segments(self._folder).get(self.stream, [])
        return damage or self._leave(file, last, dead)

    def _leave(self, file: SegmentFile, last: bool, dead: bool) -> bool:
        """Goes on to the next segment, or ends; False when the next one is not to be seen yet."""
        later = self._after(file)
        if last or (dead and later is None):
            self.finished = True
        elif later is not None:
            self.close()
            self._start = Position(later, FIRST)
        return self.finished or later is not None

    def _after(self, file: SegmentFile) -> int | None:
        """The sequence number of the next segment that there is."""
        return next((sequence for sequence in self._sequences if sequence > file.sequence), None)

    def _open(self) -> bool:
        """Whether there is a segment to read."""
        while self._file is None:
            sequence = next((there for there in self._sequences if there >= self._start.sequence), None)
            if sequence is None:
                return False
            self._file = self._file_of(sequence, self._start.offset if sequence == self._start.sequence else FIRST)
        return True

    def _next_has_begun(self, file: SegmentFile) -> bool:
        """A writer seals a segment before it begins the next: so this one's seal is damaged."""
        later = self._after(file)
        following = None if later is None else self._file_of(later, FIRST)
        if following is None:
            return False
        try:
            return following.has_begun()
        finally:
            following.close()

    def _file_of(self, sequence: int, offset: int) -> SegmentFile | None:
        """None when its writer removed it, because nothing had been written to it."""
        try:
            return SegmentFile(self._folder, self.stream, sequence, offset)
        except FileNotFoundError:
            self._sequences = [there for there in self._sequences if there != sequence]
            return None

    def _is_dead(self, file: SegmentFile) -> bool:
        """Whether nobody will append any more. The lock tells where process numbers of another namespace do not."""
        same_boot = file.header is None or file.header.boot == self._boot
        if same_boot and self._alive(self.stream.pid, self.stream.start):
            return False
        try:
            fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(file.descriptor, fcntl.LOCK_UN)
        return True
