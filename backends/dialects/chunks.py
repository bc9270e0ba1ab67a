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
    extra: dict[str, Any] | None = None

    def encode(self) -> dict[str, Any]:
        """The call as a message has it. extra: what its provider wants back with it."""
        function = {"name": self.name, "arguments": self.arguments}
        call = {"id": self.id, "type": "function", "function": function}
        return call if self.extra is None else call | {"extra_content": self.extra}


class Choice(msgspec.Struct, kw_only=True):
    """One of several answers."""

    text: str | None
    reasoning: str = ""
    calls: list[Call] = []
    finish: str
    refusal: str | None = None


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
    others: list[Choice] = []

    def encode(self) -> bytes:
        """The chat completion."""
        answers: list[Whole | Choice] = [self, *self.others]
        choices = [_choice(index, said) for index, said in enumerate(answers)]
        tree: dict[str, Any] = {"id": self.id, "object": "chat.completion", "created": self.created}
        tree |= {"model": self.model, "choices": choices}
        if self.usage is not None:
            tree["usage"] = self.usage
        return _encode(tree)


def _choice(index: int, said: Whole | Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [call.encode() for call in said.calls]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": said.finish}


class Chunks:
    """The events of one streamed answer. The role goes before the first content, and only then: until something was
    said the caller's stream is not opened, and another endpoint may still answer."""

    def __init__(self, ident: str, created: int, model: str, with_usage: bool) -> None:
        frame = {"id": ident, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + _encode(frame)[:-1]
        self._tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"
        self._with_usage = with_usage
        self.opened = False
        self._open_choices: set[int] = set()

    def text(self, piece: str, choice: int = 0) -> bytes:
        return self._delta({"content": piece}, choice)

    def reasoning(self, piece: str, choice: int = 0) -> bytes:
        return self._delta({"reasoning_content": piece}, choice)

    def whole_call(self, index: int, call: Call, choice: int = 0) -> bytes:
        """A tool call that is there at once. index: its place among the answer's calls, from 0."""
        return self._delta({"tool_calls": [{"index": index, **call.encode()}]}, choice)

    def call(self, index: int, ident: str, name: str, arguments: str = "") -> bytes:
        """A tool call begins. index: its place among the answer's calls, from 0."""
        function = {"name": name, "arguments": arguments}
        return self._delta({"tool_calls": [{"index": index, "id": ident, "type": "function", "function": function}]})

    def arguments(self, index: int, piece: str) -> bytes:
        """More of a call's arguments."""
        return self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def finish(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """The end of the answer: why, usage where it was asked for, `[DONE]`."""
        return self.stop(reason) + self.close(usage)

    def stop(self, reason: str, choice: int = 0) -> bytes:
        """The end of one choice, where there are several."""
        return self._open(choice) + self._chunk(b"{}", _encode(reason), choice)

    def close(self, usage: dict[str, Any] | None) -> bytes:
        """What follows the last choice's end."""
        if not self._with_usage or usage is None:
            return DONE
        return self._head + b',"choices":[],"usage":' + _encode(usage) + b"}\n\n" + DONE

    def _delta(self, delta: dict[str, Any], choice: int = 0) -> bytes:
        return self._open(choice) + self._chunk(_encode(delta), b"null", choice)

    def _open(self, choice: int) -> bytes:
        if choice in self._open_choices:
            return b""
        self.opened = True
        self._open_choices.add(choice)
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}', b"null", choice)

    def _chunk(self, delta: bytes, reason: bytes, choice: int) -> bytes:
        return b'%b,"choices":[{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]%b' % (
            self._head,
            choice,
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
