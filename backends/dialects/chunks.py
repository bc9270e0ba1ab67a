"""OpenAI's answers, written: a whole chat completion, and the chunks of a streamed one. Pure; one object per answer."""

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"


class Call(msgspec.Struct):
    """A tool call of a whole answer. arguments: JSON text."""

    id: str
    name: str
    arguments: str


class Whole(msgspec.Struct, kw_only=True):
    """What a whole answer says, in OpenAI's words. created: Unix seconds; usage: `totals.usage_of_reports`."""

    id: str
    created: int
    model: str
    text: str | None
    reasoning: str = ""
    calls: list[Call] = []
    finish: str
    refusal: str | None = None
    usage: dict[str, Any] | None = None

    def encode(self) -> bytes:
        """The chat completion."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        tree: dict[str, Any] = {"id": self.id, "object": "chat.completion", "created": self.created}
        tree |= {"model": self.model, "choices": [choice]}
        if self.usage is not None:
            tree["usage"] = self.usage
        return _encode(tree)


class Chunks:
    """The events of one streamed answer. The role goes before the first content, and only then: until something was
    said the caller's stream is not opened, and another endpoint may still answer."""

    def __init__(self, ident: str, created: int, model: str, with_usage: bool) -> None:
        frame = {"id": ident, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + _encode(frame)[:-1]
        self._tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"
        self._with_usage = with_usage
        self.opened = False

    def text(self, piece: str) -> bytes:
        return self._delta({"content": piece})

    def reasoning(self, piece: str) -> bytes:
        return self._delta({"reasoning_content": piece})

    def call(self, index: int, ident: str, name: str, arguments: str = "") -> bytes:
        """A tool call begins. index: its place among the answer's calls, from 0."""
        function = {"name": name, "arguments": arguments}
        return self._delta({"tool_calls": [{"index": index, "id": ident, "type": "function", "function": function}]})

    def arguments(self, index: int, piece: str) -> bytes:
        """More of a call's arguments."""
        return self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def finish(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """The end of the answer: why, usage where it was asked for, `[DONE]`."""
        last = self._open() + self._chunk(b"{}", _encode(reason))
        if self._with_usage and usage is not None:
            last += self._head + b',"choices":[],"usage":' + _encode(usage) + b"}\n\n"
        return last + DONE

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._open() + self._chunk(_encode(delta), b"null")

    def _open(self) -> bytes:
        if self.opened:
            return b""
        self.opened = True
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}', b"null")

    def _chunk(self, delta: bytes, reason: bytes) -> bytes:
        return b'%b,"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]%b' % (
            self._head,
            delta,
            reason,
            self._tail,
        )


def error_event(body: bytes) -> bytes:
    """An OpenAI error object as the last event of a stream."""
    return b"data: " + body + b"\n\n"


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """OpenAI's error object, as JSON."""
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
