"""A stream of message events as chat-completion chunks, each as it comes. Pure; one object per stream."""

from contextlib import suppress

import msgspec
from msgspec import Raw

from backends.dialects.anthropic.answer import Block, Message, completion_id, finish_of
from backends.dialects.anthropic.failure import retell
from backends.dialects.anthropic.request import Asked
from backends.dialects.chunks import Chunks, error_event
from backends.dialects.dialect import BadAnswer
from backends.dialects.framing import Events, tell
from backends.dialects.raw import ABSENT, is_given, text_or
from backends.dialects.totals import usage_of_reports


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    """Any event; which of the fields are there depends on `type`."""

    type: str
    index: int = 0
    message: Message | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: Raw = ABSENT


class _Call(msgspec.Struct):
    """A tool call that is being said. whole: arguments that came with its beginning."""

    index: int
    whole: str
    said: bool = False


class _Kind(msgspec.Struct):
    type: str


_EVENT = msgspec.json.Decoder(_Event)
_KIND = msgspec.json.Decoder(_Kind)
_BLOCKS = ("content_block_start", "content_block_delta", "content_block_stop")
_KNOWN = frozenset({"message_start", *_BLOCKS, "message_delta", "message_stop", "error"})
_NO_DELTA = _Delta()


def _read_event(data: bytes) -> _Event | None:
    """An event, None for one that is new: its fields may mean anything. Raises BadAnswer."""
    try:
        return _EVENT.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if _KIND.decode(data).type not in _KNOWN:
                return None
        raise BadAnswer(f"not an event of a message: {error}") from error


class MessageStream:
    """Implements `backends.dialects.dialect.StreamTranslator`.

    States: before message_start, inside the message, over (complete, or after an error).
    """

    def __init__(self, asked: Asked, created: int, ident: str) -> None:
        self.complete = False
        self._asked = asked
        self._created = created
        self._ident = ident
        self._events = Events()
        self._chunks: Chunks | None = None
        self._over = False
        self._calls: dict[int, _Call] = {}  # by the index of their block
        self._count = 0
        self._reports: list[bytes] = []
        self._reason: str | None = None

    def feed(self, data: bytes) -> bytes:
        return tell(self._events.feed(data), self._take)

    def end(self) -> bytes:
        return tell(self._events.flush(), self._take)

    def _take(self, data: bytes) -> bytes:
        if self._over:
            return b""
        event = _read_event(data)
        if event is None:
            return b""
        if event.type == "error":
            self._over = True
            return error_event(retell(data))
        if event.type == "message_start":
            return self._on_start(event.message or Message())
        if event.type == "ping":
            return b""
        if self._chunks is None:
            raise BadAnswer("an event before message_start")
        return self._on_event(event, self._chunks)

    def _on_start(self, message: Message) -> bytes:
        if self._chunks is not None:
            raise BadAnswer("a second message_start")
        ident = completion_id(message.id, self._ident)
        self._chunks = Chunks(ident, self._created, message.model, self._asked.wants_usage)
        self._note_usage(message.usage)
        return b""

    def _on_event(self, event: _Event, chunks: Chunks) -> bytes:
        delta = event.delta or _NO_DELTA
        if event.type == "content_block_delta":
            return self._on_delta(event.index, delta, chunks)
        if event.type == "content_block_start" and event.content_block is not None:
            return self._on_block(event.index, event.content_block, chunks)
        if event.type == "content_block_stop":
            return self._on_block_end(event.index, chunks)
        if event.type == "message_delta":
            self._reason = delta.stop_reason or self._reason
            self._note_usage(event.usage)
            return b""
        return self._on_stop(chunks) if event.type == "message_stop" else b""

    def _on_block(self, index: int, block: Block, chunks: Chunks) -> bytes:
        if block.type == "text" and block.text:
            return chunks.text(block.text)
        if block.type == "thinking" and block.thinking:
            return chunks.reasoning(block.thinking)
        if block.type != "tool_use":
            return b""
        whole = text_or(block.input, "{}")
        self._calls[index] = _Call(self._count, whole)
        self._count += 1
        return b"" if self._asked.as_text else chunks.call(self._calls[index].index, block.id, block.name)

    def _on_delta(self, index: int, delta: _Delta, chunks: Chunks) -> bytes:
        if delta.type == "text_delta":
            return chunks.text(delta.text) if delta.text else b""
        if delta.type == "thinking_delta":
            return chunks.reasoning(delta.thinking) if delta.thinking else b""
        if delta.type != "input_json_delta" or index not in self._calls:
            return b""  # signatures, citations, arguments of the provider's own tools
        return self._arguments(self._calls[index], delta.partial_json, chunks)

    def _on_block_end(self, index: int, chunks: Chunks) -> bytes:
        call = self._calls.pop(index, None)
        if call is None or call.said:
            return b""
        return self._arguments(call, call.whole, chunks)

    def _arguments(self, call: _Call, piece: str, chunks: Chunks) -> bytes:
        if not piece:
            return b""
        call.said = True
        return chunks.text(piece) if self._asked.as_text else chunks.arguments(call.index, piece)

    def _on_stop(self, chunks: Chunks) -> bytes:
        if self._reason is None:
            raise BadAnswer("an end without a stop reason")
        self._over = self.complete = True
        return chunks.finish(finish_of(self._reason, self._asked), usage_of_reports(*self._reports))

    def _note_usage(self, usage: Raw) -> None:
        """Counts are cumulative: the first report and the latest say all."""
        if is_given(usage):
            self._reports = [*self._reports[:1], bytes(usage)]
