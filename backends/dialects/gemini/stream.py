"""Gemini's stream, as the chunks of a chat completion. One object per stream."""

from backends.dialects.chunks import Chunks, error_event
from backends.dialects.dialect import BadAnswer
from backends.dialects.framing import Events, tell
from backends.dialects.gemini.errors import retell_in_stream
from backends.dialects.gemini.response import (
    Candidate,
    Response,
    call_of,
    carried,
    finish_of,
    read_response,
    usage_in,
)
from backends.dialects.raw import is_given
from backends.dialects.refusals import refusal


class GeminiStream:
    """Implements `StreamTranslator`. Why a candidate ended is held back until the stream ends as it should: nothing
    that comes after it, or is missing, may make a finished answer of a broken one."""

    def __init__(self, model: str, created: int, ident: str, with_usage: bool) -> None:
        self.complete = False
        self._framing = Events()
        self._model = model
        self._created = created
        self._ident = ident
        self._with_usage = with_usage
        self._chunks: Chunks | None = None
        self._calls: dict[int, int] = {}  # by candidate
        self._finished: dict[int, str | None] = {}  # by candidate; None: it has begun
        self._counted: bytes | None = None  # the last event with usage
        self._over = False

    def feed(self, data: bytes) -> bytes:
        return tell(self._framing.feed(data), self._on_event)

    def end(self) -> bytes:
        pieces = [tell(self._framing.flush(), self._on_event)]
        if self._over or not self._finished or None in self._finished.values() or self._chunks is None:
            return b"".join(pieces)
        silent = not self._chunks.opened
        for index, finish in sorted(self._finished.items()):
            pieces.append(self._chunks.stop(finish or "", index))
        counted = self._counted
        pieces.append(self._chunks.close(None if counted is None else usage_in(counted, silent)))
        self.complete = True
        return b"".join(pieces)

    def _on_event(self, data: bytes) -> bytes:
        if self._over:
            return b""
        response = read_response(data)
        if is_given(response.error):
            self._over = True
            return error_event(retell_in_stream(data))
        if is_given(response.usage_metadata):
            self._counted = data
        chunks = self._open(response)
        if response.blocked:
            self._finished[0] = "content_filter"
        return b"".join([self._on_candidate(chunks, candidate) for candidate in response.candidates or ()])

    def _open(self, response: Response) -> Chunks:
        if self._chunks is None:
            ident = f"chatcmpl-{response.response_id or self._ident}"
            self._chunks = Chunks(ident, self._created, response.model_version or self._model, self._with_usage)
        return self._chunks

    def _on_candidate(self, chunks: Chunks, candidate: Candidate) -> bytes:
        index = candidate.index
        if self._over:
            return b""
        if self._finished.setdefault(index, None) is not None and candidate.parts:
            raise BadAnswer("a candidate goes on after its end")
        pieces = []
        for part in candidate.parts:
            if not carried(part):
                raise BadAnswer("a part that chat completions cannot carry")
            number = self._calls.get(index, 0)
            call = call_of(part, f"call_{self._ident}_{index}_{number}")
            if call is not None:
                self._calls[index] = number + 1
                pieces.append(chunks.whole_call(number, call, index))
            elif part.text:
                pieces.append(chunks.reasoning(part.text, index) if part.thought else chunks.text(part.text, index))
        if candidate.finish_reason:
            pieces.append(self._on_finish(index, candidate.finish_reason))
        return b"".join(pieces)

    def _on_finish(self, index: int, reason: str) -> bytes:
        finish = finish_of(reason, self._calls.get(index, 0))
        if finish is None:
            self._over = True
            return error_event(refusal(502, f"The model ended its answer with {reason[:100]}."))
        self._finished[index] = finish
        return b""
