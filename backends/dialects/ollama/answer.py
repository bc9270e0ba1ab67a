"""Ollama's whole answers, as chat completions, and its errors. Pure."""

import msgspec

from backends.dialects.chunks import Whole
from backends.dialects.dialect import BadAnswer, Failed
from backends.dialects.ollama.response import Message, call_of, finish_of, read_line, usage_in
from backends.dialects.raw import is_given
from backends.dialects.refusals import refusal
from backends.dialects.vectors import VectorCall, write_vectors

_TOO_LONG = ("exceeds the available context", "exceed context", "exceeds the context length", "input length exceeds")


class _Trouble(msgspec.Struct):
    error: str


class _Vectors(msgspec.Struct):
    embeddings: list[list[float]]
    model: str = ""
    prompt_eval_count: int | None = None


_TROUBLE = msgspec.json.Decoder(_Trouble)
_VECTORS = msgspec.json.Decoder(_Vectors)


def retell_answer(body: bytes, model: str, created: int, ident: str) -> bytes:
    """The chat completion. model: for an answer that names none. Raises BadAnswer and Failed."""
    line = read_line(body)
    if is_given(line.error):
        raise Failed(retell(500, body)[1])
    if not line.done or line.message is None:
        raise BadAnswer("an answer that is not done")
    message: Message = line.message
    calls = [call_of(call, f"call_{ident}_{index}") for index, call in enumerate(message.tool_calls or ())]
    finish = finish_of(line, len(calls))
    if finish is None:
        raise BadAnswer(f"the answer ended with {(line.done_reason or 'no reason')[:100]}")
    text = message.content or ""
    return Whole(
        id=f"chatcmpl-{ident}",
        created=created,
        model=line.model or model,
        text=None if calls and not text else text,
        reasoning=message.thinking or "",
        calls=calls,
        finish=finish,
        usage=usage_in(body),
    ).encode()


def retell_vectors(body: bytes, call: VectorCall) -> bytes:
    """OpenAI's list of embeddings. Raises BadAnswer."""
    try:
        answer = _VECTORS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"not embeddings of Ollama's: {error}") from error
    return write_vectors(call, answer.embeddings, answer.model or call.model, answer.prompt_eval_count)


def retell(status: int, body: bytes) -> tuple[int, bytes]:
    """Status and body of a refusal; any bytes make one."""
    try:
        message = _TROUBLE.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = ""
    too_long = status < 500 and any(mark in message for mark in _TOO_LONG)
    return status, refusal(status, message, "context_length_exceeded" if too_long else None)
