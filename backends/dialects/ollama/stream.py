"""Ollama's stream, as the chunks of a chat completion. One object per stream."""

from backends.dialects.chunks import Chunks, error_event
from backends.dialects.dialect import BadAnswer
from backends.dialects.framing import Lines, tell
from backends.dialects.ollama.answer import retell
from backends.dialects.ollama.response import Line, call_of, finish_of, read_line, usage_in
from backends.dialects.raw import is_given
from backends.dialects.refusals import refusal


class OllamaStream:
    """Implements `StreamTranslator`. Why the answer ended is held back until the stream ends as it should."""

    def __init__(self, model: str, created: int, ident: str, with_usage: bool) -> None:
        self.complete = False
        self._framing = Lines()
        self._model = model
        self._created = created
        self._ident = ident
        self._with_usage = with_usage
        self._chunks: Chunks | None = None
        self._calls = 0
        self._finish: str | None = None
        self._last = b""
        self._over = False

    def feed(self, data: bytes) -> bytes:
        return tell(self._framing.feed(data), self._on_line)

    def end(self) -> bytes:
        told = tell(self._framing.flush(), self._on_line)
        if self._over or self._finish is None or self._chunks is None:
            return told
        self.complete = True
        return told + self._chunks.finish(self._finish, usage_in(self._last))

    def _on_line(self, data: bytes) -> bytes:
        if self._over:
            return b""
        line = read_line(data)
        if is_given(line.error):
            self._over = True
            return error_event(retell(500, data)[1])
        if self._finish is not None:
            raise BadAnswer("a line after the last")
        told = self._on_message(line)
        return told + self._on_done(line, data) if line.done else told

    def _on_message(self, line: Line) -> bytes:
        chunks = self._chunks
        if chunks is None:
            chunks = Chunks(f"chatcmpl-{self._ident}", self._created, line.model or self._model, self._with_usage)
            self._chunks = chunks
        message = line.message
        if message is None:
            raise BadAnswer("a line without a message")
        pieces = [chunks.reasoning(message.thinking)] if message.thinking else []
        if message.content:
            pieces.append(chunks.text(message.content))
        for call in message.tool_calls or ():
            pieces.append(chunks.whole_call(self._calls, call_of(call, f"call_{self._ident}_{self._calls}")))
            self._calls += 1
        return b"".join(pieces)

    def _on_done(self, line: Line, data: bytes) -> bytes:
        self._finish = finish_of(line, self._calls)
        self._last = data
        if self._finish is not None:
            return b""
        self._over = True
        return error_event(refusal(502, f"The model ended its answer with {(line.done_reason or 'no reason')[:100]}."))
