"""POST /v1/chat/completions."""

from collections.abc import Iterator
from typing import Any

import msgspec

from backends.mock.answers.answer import Answer, served_model
from backends.mock.answers.prompts import Message, as_tuple, render_messages
from backends.mock.draft import Call, Context, Draft, Tool, Wish, draft_all
from backends.mock.errors import RefusedError
from backends.mock.sse import DONE, Event
from backends.mock.tokens import digest
from backends.mock.usage import Usage, openai_usage, put_usage

MOST_CHOICES = 128
FINGERPRINT = "fp_mock"
CHUNK = "chat.completion.chunk"


class FunctionSpec(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class ToolSpec(msgspec.Struct):
    type: str
    function: FunctionSpec | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    messages: list[Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


def plan_chat(context: Context, body: ChatBody) -> Answer:
    """Plans the answer. Raises RefusedError."""
    model = served_model(context, body.model)
    if not body.messages:
        raise RefusedError(400, "messages must not be empty", param="messages", code="empty_array")
    prompt = render_messages(body.messages)
    return ChatAnswer(context, model, prompt, body)


def _wish(body: ChatBody) -> Wish:
    limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    _check_range("max_tokens", limit, 1, None)
    _check_range("n", body.n, 1, MOST_CHOICES)
    return Wish(
        limit=limit,
        stops=as_tuple(body.stop),
        schema=_schema(body.response_format),
        tools=_called(body),
        seed=body.seed,
        count=body.n or 1,
    )


def _check_range(name: str, value: int | None, least: int, most: int | None) -> None:
    if value is not None and (value < least or (most is not None and value > most)):
        raise RefusedError(400, f"{name} is out of range: {value}", param=name, code="integer_out_of_range")


def _schema(wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (wanted or {}).get("type")
    if kind == "json_object":
        return {}
    if kind != "json_schema" or wanted is None:
        return None
    schema = (wanted.get("json_schema") or {}).get("schema")
    if not isinstance(schema, dict):
        raise RefusedError(400, "response_format.json_schema.schema is missing", param="response_format")
    return schema


def _called(body: ChatBody) -> tuple[Tool, ...]:
    """Tools the model calls: the named one, else the first (the first two when parallel calls are asked for)."""
    functions = [tool.function for tool in body.tools or () if tool.function is not None]
    tools = tuple(Tool(function.name, function.parameters) for function in functions)
    choice = body.tool_choice
    if isinstance(choice, dict):
        return _named(tools, choice)
    after_result = bool(body.messages) and body.messages[-1].role == "tool" and choice != "required"
    return () if choice == "none" or after_result else tools[: 2 if body.parallel_tool_calls else 1]


def _named(tools: tuple[Tool, ...], choice: dict[str, Any]) -> tuple[Tool, ...]:
    name = (choice.get("function") or {}).get("name")
    found = tuple(tool for tool in tools if tool.name == name)
    if not found:
        raise RefusedError(400, f"tool_choice names an unknown tool: {name}", param="tool_choice")
    return found[:1]


class ChatAnswer(Answer):
    """A chat completion."""

    def __init__(self, context: Context, model: str, prompt: bytes, body: ChatBody) -> None:
        self.prompt = prompt
        self.drafts = draft_all(context, prompt, _wish(body))
        self.steps = max(draft.tokens for draft in self.drafts)
        self.tokens = sum(draft.tokens for draft in self.drafts)
        self.streamed = bool(body.stream)
        self._asked = bool(body.stream_options and body.stream_options.include_usage)
        self._fault = context.fault
        self._logprobs = (body.top_logprobs or 0) if body.logprobs else None
        self._frame = {
            "id": context.identity("chatcmpl-"),
            "object": "chat.completion",
            "created": context.created,
            "model": context.shown_model(model),
            "system_fingerprint": FINGERPRINT,
        }

    def body(self, cached: int) -> bytes:
        choices = [self._choice(index, draft) for index, draft in enumerate(self.drafts)]
        tree: dict[str, Any] = {**self._frame, "choices": choices}
        put_usage(tree, self._usage(cached, self.tokens), self._fault.usage)
        return msgspec.json.encode(tree)

    def _choice(self, index: int, draft: Draft) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": draft.text, "refusal": None}
        if draft.calls:
            message |= {"content": None, "tool_calls": [_whole_call(call) for call in draft.calls]}
        logprobs = None if self._logprobs is None else _logprobs(draft.pieces, self._logprobs)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": draft.finish}

    def events(self, cached: int) -> Iterator[Event]:
        sent = 0
        for index, step, delta, content in self._deltas():
            sent += content is not None
            yield self._chunk(index, delta, step, cached, sent, content)
        yield from self._finish(cached)
        yield Event(DONE, step=self.last_step)

    def _deltas(self) -> Iterator[tuple[int, int, dict[str, Any], str | None]]:
        """Every delta in the order of its token; the choices run side by side."""
        for index, draft in enumerate(self.drafts):
            first = {"role": "assistant", "content": None if draft.calls else "", "refusal": None}
            yield index, 0, first, None
        streams = [_fragments(draft, self._fault.unlabelled_tool_calls) for draft in self.drafts]
        for step in range(self.steps):
            for index, stream in enumerate(streams):
                for delta, content in next(stream, ()):
                    yield index, step, delta, content

    def _chunk(
        self, index: int, delta: dict[str, Any], step: int, cached: int, sent: int, content: str | None
    ) -> Event:
        choice = {"index": index, "delta": delta, "logprobs": self._piece_logprobs(delta), "finish_reason": None}
        tree = self._with_usage([choice], cached, sent)
        shown = None if content is None else (index, content)
        return Event(msgspec.json.encode(tree), step=step, tokens=int(content is not None), content=shown)

    def _piece_logprobs(self, delta: dict[str, Any]) -> dict[str, Any] | None:
        if self._logprobs is None or not delta.get("content"):
            return None
        return _logprobs([delta["content"]], self._logprobs)

    def _with_usage(self, choices: list[dict[str, Any]], cached: int, sent: int) -> dict[str, Any]:
        tree: dict[str, Any] = {**self._frame, "object": CHUNK, "choices": choices}
        if self._fault.usage == "every":
            tree["usage"] = self._usage(cached, sent)
        elif self._asked and self._fault.usage != "none":
            tree["usage"] = None
        return tree

    def _finish(self, cached: int) -> Iterator[Event]:
        for index, draft in enumerate(self.drafts):
            choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": draft.finish}
            yield Event(msgspec.json.encode(self._with_usage([choice], cached, self.tokens)), step=self.last_step)
        shape = self._fault.usage
        if shape != "none" and (self._asked or shape not in (None, "every")):
            choices = [{"index": 0, "delta": {}}] if shape == "final_with_choices" else []
            tree: dict[str, Any] = {**self._frame, "object": CHUNK, "choices": choices}
            put_usage(tree, self._usage(cached, self.tokens), shape)
            yield Event(msgspec.json.encode(tree), step=self.last_step)

    def _usage(self, cached: int, sent: int) -> dict[str, Any]:
        return openai_usage(Usage(self.prompt_tokens, cached, sent))


Delta = tuple[dict[str, Any], str | None]


def _fragments(draft: Draft, unlabelled: bool) -> Iterator[list[Delta]]:
    """Per token the deltas that carry it; the first of a call opens it."""
    for piece in draft.pieces:
        yield [({"content": piece}, piece)]
    for number, call in enumerate(draft.calls):
        opening: list[Delta] = [(_fragment(number, call, "", unlabelled, opens=True), None)]
        for piece in call.pieces:
            yield [*opening, (_fragment(number, call, piece, unlabelled, opens=False), piece)]
            opening = []


def _fragment(number: int, call: Call, piece: str, unlabelled: bool, *, opens: bool) -> dict[str, Any]:
    part: dict[str, Any] = {"index": number, "function": {"arguments": piece}}
    if opens:
        part |= {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": piece}}
    if unlabelled:
        part.pop("index")
        part.pop("id", None)
    return {"tool_calls": [part]}


def _whole_call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _logprobs(pieces: Any, top: int) -> dict[str, Any]:
    return {"content": [_logprob(piece, top) for piece in pieces], "refusal": None}


def _logprob(piece: str, top: int) -> dict[str, Any]:
    ranked = [_ranked(piece if rank == 0 else f" alt{rank}", piece, rank) for rank in range(max(1, top))]
    return {**ranked[0], "top_logprobs": ranked[:top]}


def _ranked(token: str, piece: str, rank: int) -> dict[str, Any]:
    logprob = -(1 + digest(piece)[0]) / 512 - rank
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
