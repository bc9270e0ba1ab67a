"""POST /v1/responses."""

from collections.abc import Iterator
from typing import Any

import msgspec

from backends.mock.answers.answer import BROKEN, Answer, served_model
from backends.mock.answers.prompts import render_content, utf8
from backends.mock.draft import Call, Context, Draft, Tool, Wish, draft_all
from backends.mock.errors import RefusedError
from backends.mock.fault import UsageShape
from backends.mock.sse import Event
from backends.mock.usage import Usage, put_usage, responses_usage

Item = dict[str, Any]


class ToolSpec(msgspec.Struct):
    type: str
    name: str | None = None
    parameters: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponsesBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    input: str | list[Item] | None = None
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    previous_response_id: str | None = None


def plan_response(context: Context, body: ResponsesBody) -> Answer:
    """Plans the answer. Raises RefusedError."""
    model = served_model(context, body.model)
    if body.input is None:
        raise RefusedError(400, "input is required", param="input", code="missing_required_parameter")
    return ResponsesAnswer(context, model, body)


def _prompt(body: ResponsesBody) -> bytes:
    items = body.input if isinstance(body.input, list) else [{"role": "user", "content": body.input}]
    return b"<system>%b\n%b" % (utf8(body.instructions or ""), b"".join(_render_item(item) for item in items))


def _render_item(item: Item) -> bytes:
    content = item.get("content")
    if isinstance(content, str | list):
        return b"<%b>%b\n" % (utf8(str(item.get("role", ""))), render_content(content))
    return msgspec.json.encode(item) + b"\n"


def _wish(body: ResponsesBody) -> Wish:
    wanted = (body.text or {}).get("format") or {}
    schema = {"json_object": {}, "json_schema": wanted.get("schema", {})}.get(wanted.get("type", ""))
    return Wish(limit=body.max_output_tokens, schema=schema, tools=_called(body))


def _called(body: ResponsesBody) -> tuple[Tool, ...]:
    tools = tuple(Tool(tool.name, tool.parameters or {}) for tool in body.tools or () if tool.name is not None)
    choice = body.tool_choice
    if isinstance(choice, dict):
        return tuple(tool for tool in tools if tool.name == choice.get("name"))[:1]
    items = body.input if isinstance(body.input, list) else []
    after_result = bool(items) and items[-1].get("type") == "function_call_output" and choice != "required"
    return () if choice == "none" or after_result else tools[:1]


class ResponsesAnswer(Answer):
    """A response with one message or one function call."""

    def __init__(self, context: Context, model: str, body: ResponsesBody) -> None:
        self.prompt = _prompt(body)
        self.draft: Draft = draft_all(context, self.prompt, _wish(body))[0]
        self.steps = self.tokens = self.draft.tokens
        self.streamed = bool(body.stream)
        self._shape: UsageShape | None = context.fault.usage
        self._item_id = context.identity("fc_" if self.draft.calls else "msg_")
        self._frame = _frame(context, model, body)
        self._number = 0

    def body(self, cached: int) -> bytes:
        return msgspec.json.encode(self._ended(cached))

    def _ended(self, cached: int) -> dict[str, Any]:
        cut = self.draft.finish == "length"
        status = "incomplete" if cut else "completed"
        reason = {"reason": "max_output_tokens"} if cut else None
        tree = self._frame | {"status": status, "incomplete_details": reason, "output": [self._item(status)]}
        put_usage(tree, responses_usage(Usage(self.prompt_tokens, cached, self.tokens)), self._shape)
        return tree

    def _item(self, status: str) -> Item:
        if self.draft.calls:
            return self._call_item(self.draft.calls[0], self.draft.calls[0].arguments, status)
        return self._message([_text_part(self.draft.text)], status)

    def _message(self, content: list[Item], status: str) -> Item:
        return {"id": self._item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _call_item(self, call: Call, arguments: str, status: str) -> Item:
        item = {"id": self._item_id, "type": "function_call", "status": status, "call_id": call.id}
        return item | {"name": call.name, "arguments": arguments}

    def events(self, cached: int) -> Iterator[Event]:
        started = self._frame | {"status": "in_progress", "output": [], "usage": None}
        yield self._event("response.created", 0, response=started)
        yield self._event("response.in_progress", 0, response=started)
        yield from self._call_events() if self.draft.calls else self._text_events()
        ended = self._ended(cached)
        item = ended["output"][0]
        yield self._event("response.output_item.done", self.last_step, output_index=0, item=item)
        yield self._event(f"response.{ended['status']}", self.last_step, response=ended)

    def _text_events(self) -> Iterator[Event]:
        place = {"item_id": self._item_id, "output_index": 0, "content_index": 0}
        yield self._event("response.output_item.added", 0, output_index=0, item=self._message([], "in_progress"))
        yield self._event("response.content_part.added", 0, **place, part=_text_part(""))
        for step, piece in enumerate(self.draft.pieces):
            yield self._event("response.output_text.delta", step, piece, **place, delta=piece, logprobs=[])
        text = self.draft.text
        yield self._event("response.output_text.done", self.last_step, **place, text=text, logprobs=[])
        yield self._event("response.content_part.done", self.last_step, **place, part=_text_part(text))

    def _call_events(self) -> Iterator[Event]:
        call = self.draft.calls[0]
        place = {"item_id": self._item_id, "output_index": 0}
        item = self._call_item(call, "", "in_progress")
        yield self._event("response.output_item.added", 0, output_index=0, item=item)
        for step, piece in enumerate(call.pieces):
            yield self._event("response.function_call_arguments.delta", step, piece, **place, delta=piece)
        done = {**place, "arguments": call.arguments, "name": call.name}
        yield self._event("response.function_call_arguments.done", self.last_step, **done)

    def failure(self) -> Event:
        told = {"code": BROKEN.code, "message": BROKEN.message, "param": None}
        return self._event("error", self.last_step, **told)

    def _event(self, kind: str, step: int, piece: str | None = None, /, **fields: Any) -> Event:
        tree = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        content = None if piece is None else (0, piece)
        return Event(msgspec.json.encode(tree), kind, step, int(piece is not None), content)


def _text_part(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _frame(context: Context, model: str, body: ResponsesBody) -> dict[str, Any]:
    return {
        "id": context.identity("resp_"),
        "object": "response",
        "created_at": context.created,
        "model": context.shown_model(model),
        "error": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": True,
        "previous_response_id": body.previous_response_id,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": body.text or {"format": {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": [tool for tool in body.tools or () if tool.name is not None],
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": "disabled",
    }
