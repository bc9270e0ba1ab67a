"""One answer as its reader sees it: when each piece of content came, and how it ended.

Owns the reading of event streams of `chat/completions` and `completions`. A piece is an event with content: text,
reasoning, a refusal or part of a tool call; an event that only names the role is no first token. Events that one read
brings together came at one time. Belongs to one request on one loop.
"""

from array import array
from collections.abc import Callable
from typing import Any

import msgspec

from _native.relay import Sink
from _native.sse import FrameSplitter, FrameTooLarge, classify, join_data
from backends.base import UpstreamError
from scheduler.clock import Clock

#: Bytes one event may have.
FRAME_LIMIT = 1 << 20
#: Bytes kept of an answer that is no stream, to show what the server said.
KEPT = 2048
_SHOWN = 200


class Delta(msgspec.Struct):
    """What a chat event adds; the names are those of OpenAI, vLLM, SGLang and llama.cpp."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None

    @property
    def thinks(self) -> bool:
        return bool(self.reasoning_content or self.reasoning)

    @property
    def carries(self) -> bool:
        return bool(self.content or self.refusal or self.tool_calls) or self.thinks


class Choice(msgspec.Struct):
    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class TokenDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: TokenDetails | None = None


class Event(msgspec.Struct):
    """The fields of an event that are looked at."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Event).decode


class Answer(Sink):
    """Takes one answer and calls `ended(self)` once, after its last byte or its failure.

    Times are s of the monotonic clock; `origin` is when the run began, from which `seconds` counts.

    error: None for a whole answer, else its class; detail: what the server or the network said about it.
    """

    __slots__ = (
        "_body",
        "_clock",
        "_ended",
        "_finished",
        "_origin",
        "_seen_reasoning",
        "_splitter",
        "detail",
        "ended_at",
        "error",
        "first_at",
        "gaps",
        "last_at",
        "pieces",
        "seconds",
        "status",
        "terminal",
        "usage",
    )

    def __init__(self, clock: Clock, origin: float, ended: "Callable[[Answer], None]") -> None:
        self._clock = clock
        self._origin = origin
        self._ended = ended
        self._splitter: FrameSplitter | None = None
        self._body = b""
        self._finished = self._seen_reasoning = self.terminal = False
        self.status = 0
        self.pieces = 0
        self.first_at = self.last_at = self.ended_at = 0.0
        self.gaps = array("f")  # between pieces, s
        self.seconds: dict[int, int] = {}  # second of the run -> pieces that came in it
        self.usage: Usage | None = None
        self.error: str | None = None
        self.detail = ""

    @property
    def output_tokens(self) -> int | None:
        """Tokens of what was streamed, by usage; None when usage does not say.

        Reasoning that was charged but never shown is not counted: no reader waited for its tokens one by one.
        """
        usage = self.usage
        if usage is None or not usage.completion_tokens or usage.completion_tokens < 0:
            return None
        hidden = usage.completion_tokens_details
        if hidden is None or self._seen_reasoning:
            return usage.completion_tokens
        return max(1, usage.completion_tokens - max(0, hidden.reasoning_tokens or 0))

    # -- from the backend

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> Sink:
        self.status = status
        kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        if status == 200 and kind.strip().lower().startswith(b"text/event-stream"):
            self._splitter = FrameSplitter(FRAME_LIMIT)
        return self

    def write(self, data: bytes) -> None:
        if self._splitter is None:
            self._body += data[: KEPT - len(self._body)]
            return
        now = self._clock.monotonic()
        try:
            frames = self._splitter.feed(data)
        except FrameTooLarge:
            self._refuse("oversized_event", f"an event has more than {FRAME_LIMIT} bytes")
            return
        for frame in frames:
            self._on_frame(frame, now)

    def finish(self) -> None:
        if self._splitter is None:
            self._on_plain_answer()
        elif not self.terminal and not self._finished:
            self._refuse("truncated", "the stream ended without [DONE] and without a finish_reason")
        elif not self.pieces:
            self._refuse("empty", "an answer without content")
        self._close()

    def fail(self, error: UpstreamError) -> None:
        if not self.terminal:  # what breaks behind the last event took nothing from the reader
            self._refuse(str(error.cause), str(error))
        elif not self.pieces:
            self._refuse("empty", "an answer without content")
        self._close()

    # -- the stream

    def _on_frame(self, frame: bytes, now: float) -> None:
        kind, start, end, _ = classify(frame)
        if self.terminal or kind == 0:
            return
        data = frame[start:end] if kind == 1 else join_data(frame)
        if data.strip() == b"[DONE]":
            self.terminal, self.ended_at = True, now
            return
        try:
            event = _decode(data)
        except msgspec.DecodeError as error:
            self._refuse("malformed", str(error))
            return
        self._on_event(event, now)

    def _on_event(self, event: Event, now: float) -> None:
        if event.error is not None:
            self._refuse("in_band", _shorten(msgspec.json.encode(event.error)))
            return
        if event.usage is not None:
            self.usage = event.usage
        for choice in event.choices:
            if choice.finish_reason:
                self._finished, self.ended_at = True, now
        if any(self._carries(choice) for choice in event.choices):
            self._on_piece(now)

    def _carries(self, choice: Choice) -> bool:
        delta = choice.delta
        if delta is None:
            return bool(choice.text)
        self._seen_reasoning = self._seen_reasoning or delta.thinks
        return delta.carries

    def _on_piece(self, now: float) -> None:
        if self.pieces:
            self.gaps.append(now - self.last_at)
        else:
            self.first_at = now
        self.last_at = now
        self.pieces += 1
        second = int(now - self._origin)
        self.seconds[second] = self.seconds.get(second, 0) + 1

    # -- the end

    def _on_plain_answer(self) -> None:
        if self.status == 200:
            self._refuse("no_stream", f"not an event stream: {_shorten(self._body)}")
        else:
            self._refuse(f"http_{self.status}", _shorten(self._body))

    def _refuse(self, error: str, detail: str) -> None:
        """The first thing that went wrong is the one that counts."""
        if self.error is None:
            self.error, self.detail = error, detail

    def _close(self) -> None:
        self.ended_at = self.ended_at or self._clock.monotonic()
        self._ended(self)


def _shorten(text: bytes) -> str:
    line = " ".join(text.decode("utf-8", "replace").split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
