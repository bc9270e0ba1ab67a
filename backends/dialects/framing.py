"""Pieces of a provider's stream, cut anywhere, made into its events' data. No I/O; one object per stream."""

from collections.abc import Callable, Iterable
from typing import Protocol

from _native.sse import FrameSplitter, FrameTooLarge, join_data
from backends.dialects.dialect import BadAnswer

#: Bytes of one event, finished or not.
EVENT_LIMIT = 1 << 20
_BOM = b"\xef\xbb\xbf"


def tell(events: Iterable[bytes], take: Callable[[bytes], bytes]) -> bytes:
    """What `take` makes of each event. Raises BadAnswer with what it made of those before the bad one."""
    told: list[bytes] = []
    try:
        for event in events:
            told.append(take(event))
    except BadAnswer as error:
        error.told = b"".join(told)
        raise
    return b"".join(told)


class Framing(Protocol):
    """How a provider's stream is cut into events."""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete, none of it empty. Raises BadAnswer for one too large."""
        ...

    def flush(self) -> list[bytes]:
        """The stream ended: the data of a last event without its end."""
        ...


class Events:
    """Server-sent events (`text/event-stream`). What an event is called is left out: the data says it as well."""

    media = b"text/event-stream"

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._splitter = FrameSplitter(limit)
        self._begun = b""
        self._opened = False

    def feed(self, data: bytes) -> list[bytes]:
        if not self._opened:
            data = self._begun = self._begun + data
            if _BOM.startswith(data[:3]) and len(data) < 3:
                return []
            data, self._begun, self._opened = data.removeprefix(_BOM), b"", True
        try:
            frames = self._splitter.feed(data)
        except FrameTooLarge as error:
            raise BadAnswer(f"an event of more than {error.limit} bytes") from error
        return [found for found in map(join_data, frames) if found]

    def flush(self) -> list[bytes]:
        found = join_data(self._splitter.flush().rstrip(b"\r\n") + b"\n\n")
        return [found] if found else []


class Lines:
    """One JSON object per line (`application/x-ndjson`)."""

    media = b"application/x-ndjson"

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._held: list[bytes] = []
        self._size = 0
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        first, *rest = data.split(b"\n")
        self._hold(first)
        if not rest:
            return []
        lines = [b"".join(self._held), *rest[:-1]]
        self._held, self._size = [], 0
        self._hold(rest[-1])
        if any(len(line) > self._limit for line in lines):
            raise BadAnswer(f"a line of more than {self._limit} bytes")
        return [line for line in (line.strip() for line in lines) if line]

    def flush(self) -> list[bytes]:
        line, self._held, self._size = b"".join(self._held).strip(), [], 0
        return [line] if line else []

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise BadAnswer(f"a line of more than {self._limit} bytes")
        if piece:
            self._held.append(piece)
