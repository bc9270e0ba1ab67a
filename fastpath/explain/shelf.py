"""Finding the record of an id among all segments of a node, live and after any crash.

A segment that is full has an index (`index`); of the few others the places that were seen are remembered, so that the
next search reads only what was written since. A record can be found as soon as it was put, in any process of the same
user. Owns the search. Does not own removal (`retention`) or who may see a record (`view`). One thread at a time; may
wait for the disk.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from _native.outbox import ALIGN, FIRST, HEAD
from fastpath.explain.decision import KEY_SIZE, Decision, DecisionError, decode
from fastpath.explain.index import SUFFIX, Index, index_path, read_index
from fastpath.explain.segments import Place, SegmentId, read_at, walk
from fastpath.outbox.folder import OutboxError, list_segments

_log = logging.getLogger("fastpath.decisions")

#: Segments without an index whose places are remembered.
_MOST_SEEN = 256


class _Seen:
    """What was read of a segment that may still grow."""

    def __init__(self) -> None:
        self.offset = FIRST
        self.places: dict[bytes, list[int]] = {}

    def note(self, place: Place) -> None:
        self.places.setdefault(place.key, []).append(place.offset)
        self.offset = place.offset + -(-(len(place.payload) + HEAD) // ALIGN) * ALIGN


class Shelf:
    """The records in a folder. A folder that is missing has none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[SegmentId, _Seen] = {}

    def find(self, request: bytes, oldest: float) -> Decision | None:
        """The record of a request (16 bytes) that came at `oldest` (Unix seconds) or later; None when there is none."""
        for payload in self._candidates(request[:KEY_SIZE]):
            try:
                found = decode(payload)
            except DecisionError:
                continue
            if found.request == request:
                return found if found.ts >= oldest else None
        return None

    def _candidates(self, key: bytes) -> Iterator[bytes]:
        """Records with this key, of the newest segments first."""
        for segment in self._segments():
            try:
                for offset in list(self._offsets(segment, key)):
                    payload = read_at(self._folder, segment, offset)
                    if payload is not None and payload[:KEY_SIZE] == key:
                        yield payload
            except FileNotFoundError:  # it has just been removed
                self._seen.pop(segment, None)
            except (OSError, OutboxError) as error:
                _log.error("records of decisions cannot be read, others can: %s", error)

    def _segments(self) -> list[SegmentId]:
        try:
            listed = list_segments(self._folder)
            indexed = {path.name: path.stat().st_mtime for path in self._folder.glob(f"*{SUFFIX}")}
        except FileNotFoundError:
            return []
        found = [SegmentId(stream, number) for stream, numbers in listed.items() for number in numbers]
        self._seen = {segment: seen for segment, seen in self._seen.items() if segment in set(found)}

        def age(segment: SegmentId) -> float:
            written = indexed.get(index_path(Path(segment.name)).name)
            return -written if written is not None else float("-inf")

        return sorted(found, key=age)

    def _offsets(self, segment: SegmentId, key: bytes) -> Iterator[int]:
        index = self._index(segment)
        if index is not None:
            self._seen.pop(segment, None)
            return index.find(key)
        return iter(self._look(segment).places.get(key, ()))

    def _index(self, segment: SegmentId) -> Index | None:
        return read_index(self._folder / segment.name)

    def _look(self, segment: SegmentId) -> _Seen:
        """Reads on in a segment without an index."""
        if segment not in self._seen and len(self._seen) >= _MOST_SEEN:
            self._seen.pop(next(iter(self._seen)))
        seen = self._seen.setdefault(segment, _Seen())
        for place in walk(self._folder, segment, seen.offset):
            seen.note(place)
        return seen
