"""Twin of the server-sent events kernel: regular expressions over everything that has come, read again at each call.

Owns: the same answers as the kernel, by another method (quadratic in the length of a stream, which no test minds).
Concurrency: one object per stream.
"""

import re

_LINE_END = rb"(?>\r\n|\r|\n)"  # atomic: CRLF never falls apart into two line ends
_FRAME = re.compile(rb"(?:[^\r\n]++" + _LINE_END + rb")*+" + _LINE_END)
_BREAK = re.compile(_LINE_END)
_DATA = re.compile(rb"data(?:: ?([^\r\n]*+))?(?=[\r\n]|\Z)")
_ERROR = re.compile(rb"(?:^|(?<=[\r\n]))event: ?error(?=[\r\n]|\Z)")
_LINE_START = re.compile(rb"(?:^|(?<=[\r\n]))(?=[^\r\n])")
_MARK = b"\xef\xbb\xbf"


class FrameTooLarge(ValueError):
    """A frame is longer than `limit`; `frames` came whole before it."""

    def __init__(self, limit: int, frames: list[bytes]) -> None:
        super().__init__(f"a frame is longer than {limit} bytes")
        self.limit = limit
        self.frames = frames


class FrameSplitter:
    """Cuts one stream into frames."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = b""
        self._after_cr = False  # the last byte before `_held` was a CR that ended both a frame and a chunk
        self._broken = False

    @property
    def pending(self) -> int:
        """Bytes held of the unfinished frame."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes."""
        frames: list[bytes] = []
        if self._broken:
            raise FrameTooLarge(self.limit, frames)
        self._held += data
        while match := _FRAME.match(self._held, 1 if self._after_cr and self._held.startswith(b"\n") else 0):
            frame, self._held = self._held[: match.end()], self._held[match.end() :]
            self._check(frame, frames)
            frames.append(frame)
            self._after_cr = frame.endswith(b"\r") and not self._held
        self._check(self._held, frames)
        return frames

    def _check(self, frame: bytes, frames: list[bytes]) -> None:
        if len(frame) > self.limit:
            self._broken, self._held = True, b""
            raise FrameTooLarge(self.limit, frames)

    def flush(self) -> bytes:
        """Gives up the unfinished frame's bytes."""
        held, self._held, self._after_cr = self._held, b"", False
        return held


def _data_spans(frame: bytes) -> list[tuple[int, int]]:
    spans = []
    for start in _LINE_START.finditer(frame):
        if match := _DATA.match(frame, start.end()):
            spans.append(match.span(1) if match[1] is not None else (match.end(), match.end()))
    return spans


def classify(frame: bytes) -> tuple[int, int, int, bool]:
    """Data lines (0, 1, 2 for more), span of the first, error event."""
    spans = _data_spans(frame)
    start, end = spans[0] if spans else (0, 0)
    return min(len(spans), 2), start, end, _ERROR.search(frame) is not None


def join_data(frame: bytes) -> bytes:
    """Values of the data lines with LF between them."""
    return b"\n".join(frame[start:end] for start, end in _data_spans(frame))


def events(stream: bytes) -> list[tuple[str, str, str]]:
    """(type, data, last event id) of all whole events of a stream, in the words of the standard."""
    text = stream.removeprefix(_MARK).decode("utf-8", "replace")
    kind, data, last_id, found = "", "", "", []
    for line in re.split(r"\r\n|\r|\n", text)[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append((kind or "message", data.removesuffix("\n"), last_id))
            kind, data = "", ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return found


class EventParser:
    """Reads one stream's events. Sets no limit."""

    def __init__(self) -> None:
        self._stream = b""
        self._given = 0

    def feed(self, data: bytes) -> list[tuple[str, str, str]]:
        """The events that `data` completes."""
        self._stream += data
        whole = events(self._stream)
        fresh, self._given = whole[self._given :], len(whole)
        return fresh
