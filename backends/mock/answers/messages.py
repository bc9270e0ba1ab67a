"""POST /v1/messages and /v1/messages/count_tokens (the Anthropic dialect)."""

from collections.abc import Iterator
from typing import Any

import msgspec

from backends.mock.answers.answer import BROKEN, Answer, Fixed, fixed_json, served_model
from backends.mock.answers.prompts import Message, as_tuple, render_content, render_messages
from backends.mock.draft import Call, Context, Draft, Tool, Wish, draft_all, prompt_tokens
from backends.mock.errors import RefusedError, error_body
from backends.mock.fault import UsageShape
from backends.mock.sse import Event
from backends.mock.usage import Usage, anthropic_usage, put_usage

THOUGHT = {"type": "thinking", "thinking": "A pretended thought.", "signature": "c2lnbmF0dXJl"}
THINKING_TOKENS = 2
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class ToolSpec(msgspec.Struct):
    name: str
    input_schema: dict[str, Any] = {}


class ToolChoice(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    type: str


class Format(msgspec.Struct):
    type: str
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct):
    format: Format | None = None


class MessagesBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    messages: list[Message]
    model: str | None = None
    max_tokens: int | None = None
    system: str | list[str | dict[str, Any]] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: ToolChoice | None = None
    temperature: float | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None

    @property
    def thinks(self) -> bool:
        """Whether the answer shows how it was found."""
        return self.thinking is not None and self.thinking.type in ("enabled", "adaptive")


def plan_message(context: Context, body: MessagesBody) -> Answer:
    """Plans the answer. Raises RefusedError."""
    model = served_model(context, body.model)
    if body.max_tokens is None or body.max_tokens < 1:
        raise RefusedError(400, "max_tokens: Field required", param="max_tokens")
    if body.temperature is not None and not 0 <= body.temperature <= 1:
        raise RefusedError(400, "temperature: range: 0..1", param="temperature")
    for message in body.messages:
        if message.role not in ("user", "assistant"):
            raise RefusedError(400, f"messages: Unexpected role {message.role!r}", param="messages")
    return MessagesAnswer(context, model, body)


def plan_count(context: Context, body: MessagesBody) -> Fixed:
    """Counts the prompt's tokens."""
    served_model(context, body.model)
    return fixed_json(b"", {"input_tokens": prompt_tokens(_prompt(body))})


def _prompt(body: MessagesBody) -> bytes:
    return b"<system>%b\n%b" % (render_content(body.system), render_messages(body.messages))


def _called(body: MessagesBody) -> tuple[Tool, ...]:
    """Tools the model calls: the named one, else the first (the first two when parallel calls are asked for)."""
    tools = tuple(Tool(tool.name, tool.input_schema) for tool in body.tools or ())
    choice = body.tool_choice or ToolChoice("auto")
    if choice.type == "tool":
        return tuple(tool for tool in tools if tool.name == choice.name)[:1]
    after_result = _holds_result(body.messages[-1]) if body.messages else False
    return (
        ()
        if choice.type == "none" or (after_result and choice.type != "any")
        else tools[: 2 if choice.disable_parallel_tool_use is False else 1]
    )


def _holds_result(message: Message) -> bool:
    parts = message.content if isinstance(message.content, list) else []
    return any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)


class MessagesAnswer(Answer):
    """A message with one text block or tool_use blocks, behind a thinking block where one is asked for."""

    def __init__(self, context: Context, model: str, body: MessagesBody) -> None:
        self.prompt = _prompt(body)
        wanted = body.output_config.format if body.output_config is not None else None
        wish = Wish(
            limit=body.max_tokens,
            stops=as_tuple(body.stop_sequences),
            schema=wanted.schema if wanted is not None else None,
            tools=_called(body),
        )
        self.draft: Draft = draft_all(context, self.prompt, wish)[0]
        self.steps = self.tokens = self.draft.tokens
        self.streamed = bool(body.stream)
        self._thinks = body.thinks
        self._shape: UsageShape | None = context.fault.usage
        self._frame = {
            "id": context.identity("msg_"),
            "type": "message",
            "role": "assistant",
            "model": context.shown_model(model),
        }

    def body(self, cached: int) -> bytes:
        content = [THOUGHT] if self._thinks else []
        content += [_tool_block(call) for call in self.draft.calls] or [{"type": "text", "text": self.draft.text}]
        tree = self._frame | {"content": content, **self._stop()}
        put_usage(tree, self._usage(cached, self.tokens), self._shape)
        return msgspec.json.encode(tree)

    def _stop(self) -> dict[str, Any]:
        return {"stop_reason": STOP_REASONS[self.draft.finish], "stop_sequence": None}

    def _usage(self, cached: int, completion: int) -> dict[str, Any]:
        usage = anthropic_usage(Usage(self.prompt_tokens, cached, completion))
        if self._thinks:
            usage["output_tokens_details"] = {"thinking_tokens": min(THINKING_TOKENS, completion)}
        return usage

    def events(self, cached: int) -> Iterator[Event]:
        message: dict[str, Any] = self._frame | {"content": [], "stop_reason": None, "stop_sequence": None}
        put_usage(message, self._usage(cached, 1), self._shape)
        yield _event("message_start", 0, message=message)
        yield from self._block_events()
        ended: dict[str, Any] = {"delta": self._stop()}
        put_usage(ended, self._usage(cached, self.tokens), self._shape)
        yield _event("message_delta", self.last_step, **ended)
        yield _event("message_stop", self.last_step)

    def _block_events(self) -> Iterator[Event]:
        index, step = 0, 0
        if self._thinks:
            yield from _thought_events()
            index = 1
        for number, call in enumerate(self.draft.calls or (None,)):
            block: dict[str, Any] = {"type": "text", "text": ""} if call is None else _tool_block(call) | {"input": {}}
            yield _event("content_block_start", step, index=index, content_block=block)
            if not number:
                yield _event("ping", step)
            for piece in self.draft.pieces if call is None else call.pieces:
                kind = ("text_delta", "text") if call is None else ("input_json_delta", "partial_json")
                yield _event("content_block_delta", step, piece, index=index, delta={"type": kind[0], kind[1]: piece})
                step += 1
            yield _event("content_block_stop", max(step - 1, 0), index=index)
            index += 1

    def failure(self) -> Event:
        return Event(error_body("/v1/messages", BROKEN), "error", self.last_step)


def _thought_events() -> Iterator[Event]:
    yield _event("content_block_start", 0, index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
    for delta in (
        {"type": "thinking_delta", "thinking": THOUGHT["thinking"]},
        {"type": "signature_delta", "signature": THOUGHT["signature"]},
    ):
        yield _event("content_block_delta", 0, index=0, delta=delta)
    yield _event("content_block_stop", 0, index=0)


def _event(kind: str, step: int, piece: str | None = None, /, **fields: Any) -> Event:
    content = None if piece is None else (0, piece)
    return Event(msgspec.json.encode({"type": kind, **fields}), kind, step, int(piece is not None), content)


def _tool_block(call: Call) -> dict[str, Any]:
    arguments = msgspec.json.decode(call.arguments)
    return {"type": "tool_use", "id": "toolu_" + call.id.removeprefix("call_"), "name": call.name, "input": arguments}
