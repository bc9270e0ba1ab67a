"""What a response's payload says: events, text, errors, digests.

Owns the reading of SSE and error bodies. Does not know sockets. Concurrency: one caller.
"""

import hashlib
import re

import msgspec

BLANK_LINE = re.compile(rb"\r?\n\r?\n")
ERROR_BYTES = 64 * 1024
"""Longest error body kept."""


class Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class Choice(msgspec.Struct):
    index: int = 0
    delta: Delta | None = None


class Chunk(msgspec.Struct):
    """The parts of a chat chunk, or of an in-band error, that are looked at."""

    choices: list[Choice] = []
    error: msgspec.Raw = msgspec.Raw()


class Answer:
    """Collects one answer. Raises ValueError for an event that is neither a comment, `[DONE]` nor a chunk."""

    def __init__(self, status: int, content_type: str) -> None:
        self.content: dict[int, str] = {}
        self.bytes = 0
        self.events = 0
        self.terminal = False
        self.after_terminal = 0
        self.error: str | None = None
        self._digest = hashlib.sha256()
        self._is_error = status >= 400
        self._is_stream = not self._is_error and content_type.startswith("text/event-stream")
        self._rest = b""

    @property
    def sha256(self) -> str:
        """Of the payload; in a stream, of its whole events but comments and in-band errors."""
        return self._digest.hexdigest()

    def feed(self, payload: bytes) -> None:
        if self._is_stream:
            self._feed_events(payload)
            return
        self._count(payload)
        if self._is_error:
            self.error = ((self.error or "") + payload.decode("utf-8", "replace"))[:ERROR_BYTES]

    def _feed_events(self, payload: bytes) -> None:
        if self.terminal:
            self.after_terminal += len(payload)
            return
        data, at = self._rest + payload, 0
        while not self.terminal and (blank := BLANK_LINE.search(data, at)):
            self._on_event(data[at : blank.end()])
            at = blank.end()
        self._rest = data[at:]
        if self.terminal:
            self.after_terminal += len(self._rest)

    def _on_event(self, event: bytes) -> None:
        lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
        if not lines:
            return
        data = b"\n".join(lines)
        if data == b"[DONE]":
            self.terminal = True
        elif self._is_in_band_error(data):
            return
        self.events += 1
        self._count(event)

    def _is_in_band_error(self, data: bytes) -> bool:
        chunk = msgspec.json.decode(data, type=Chunk)
        if bytes(chunk.error) not in (b"", b"null"):
            self.error, self.terminal = data.decode(), True
            return True
        for choice in chunk.choices:
            if choice.delta is not None and choice.delta.content:
                self.content[choice.index] = self.content.get(choice.index, "") + choice.delta.content
        return False

    def _count(self, payload: bytes) -> None:
        self.bytes += len(payload)
        self._digest.update(payload)
