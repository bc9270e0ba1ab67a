"""Which requests are open, by the worker's life (stream) that holds them; kept in a file beside the outbox.

A life that is over writes no End: what it still held is settled from its last Marks. Owns the file and its meaning.
Does not own when a life is over (`inbox`). To hold a request that was settled long ago is harmless, the ledger
knows better; one that is forgotten is found by its age (`service`). So the file may be lost. Concurrency: the inbox's
thread.
"""

import logging
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from fastpath.outbox.facts import End, Fact
from fastpath.outbox.folder import replace_file

NAME: Final = "open-requests"
_LAYOUT: Final = 1
_ID: Final = 16

_log = logging.getLogger("fastpath.settlement")


class _Stored(msgspec.Struct, frozen=True):
    layout: int
    streams: dict[str, bytes]  # ids, one behind the other


class Holders:
    """Open requests by the name of their stream."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._held: dict[str, set[bytes]] = _load(self._path)
        self._changed = False

    @property
    def streams(self) -> list[str]:
        """Names of all streams that hold any request."""
        return list(self._held)

    def held_by(self, stream: str) -> frozenset[bytes]:
        """The requests of a stream."""
        return frozenset(self._held.get(stream, ()))

    def holds(self, request: bytes) -> bool:
        """Whether any stream holds this request."""
        return any(request in held for held in self._held.values())

    def note_all(self, stream: str, facts: Iterable[Fact]) -> None:
        """Facts of this stream were settled, in their order. An End with a bill whose Intent never came leaves
        its request open. What they leave as it was changes nothing: most come with their End."""
        held = self._held.get(stream, set())
        before = held.copy()
        for fact in facts:
            request = fact.request
            if not isinstance(fact, End):
                if len(request) == _ID:
                    held.add(request)
            elif request in held:
                held.remove(request)
            elif len(request) == _ID and any(attempt.usage is not None for attempt in fact.attempts):
                held.add(request)
        if held != before:
            self._held[stream] = held
            self._changed = True

    def drop(self, streams: Iterable[str]) -> None:
        """What these streams held was settled."""
        for stream in streams:
            self._changed |= self._held.pop(stream, None) is not None

    def store(self) -> None:
        """Replaces the file, if anything changed. Raises OSError."""
        if not self._changed:
            return
        body = msgspec.msgpack.encode(
            _Stored(_LAYOUT, {stream: b"".join(sorted(held)) for stream, held in self._held.items()})
        )
        replace_file(self._path, zlib.crc32(body).to_bytes(4, "big") + body)
        self._changed = False


def _load(path: Path) -> dict[str, set[bytes]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        if zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
            raise ValueError("its checksum is wrong")
        stored = msgspec.msgpack.decode(data[4:], type=_Stored)
        if stored.layout != _LAYOUT:
            raise ValueError(f"it has layout {stored.layout}")
    except ValueError as error:
        _log.error("%s is of no use, requests of workers that died are settled later, by their age: %s", path, error)
        return {}
    return {
        stream: {ids[at : at + _ID] for at in range(0, len(ids) - _ID + 1, _ID)}
        for stream, ids in stored.streams.items()
    }
