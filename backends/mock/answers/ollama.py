"""POST /api/chat, /api/generate, /api/embed and /api/show (the Ollama dialect): JSON lines unless `stream` is false."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from backends.mock.answers.answer import BROKEN, Answer, Fixed, fixed_json, served_model
from backends.mock.answers.embeddings import MOST_DIMENSIONS, embed
from backends.mock.answers.prompts import utf8
from backends.mock.draft import Call, Context, Draft, Tool, Wish, draft_all, prompt_tokens
from backends.mock.errors import RefusedError, error_body
from backends.mock.sse import LINES, Event
from backends.mock.tokens import compose, digest, image_bytes
from backends.mock.usage import Usage, bend, ollama_usage

THOUGHTS = 8
FINISH = {"stop": "stop", "length": "length", "tool_calls": "stop"}


class Options(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    num_predict: int | None = None
    stop: list[str] | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None


class FunctionSpec(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class ToolSpec(msgspec.Struct):
    function: FunctionSpec


class CalledFunction(msgspec.Struct):
    name: str
    arguments: dict[str, Any]


class ToolCall(msgspec.Struct):
    function: CalledFunction
    id: str | None = None


class Message(msgspec.Struct):
    role: str
    content: str = ""
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ChatBody(msgspec.Struct):
    messages: list[Message] = []
    model: str | None = None
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    tools: list[ToolSpec] | None = None
    think: bool | str | None = None
    truncate: bool | None = None
    shift: bool | None = None


class GenerateBody(msgspec.Struct):
    model: str | None = None
    prompt: str = ""
    system: str = ""
    images: list[str] | None = None
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    think: bool | str | None = None


class EmbedBody(msgspec.Struct):
    input: str | list[str]
    model: str | None = None
    truncate: bool | None = None
    dimensions: int | None = None


class ShowBody(msgspec.Struct):
    model: str | None = None


def plan_ollama_chat(context: Context, body: ChatBody) -> Answer:
    """Plans the answer. Raises RefusedError."""
    model = served_model(context, body.model)
    prompt = b"".join(_render(message) for message in body.messages)
    last = body.messages[-1].role if body.messages else ""
    tools = tuple(Tool(tool.function.name, tool.function.parameters) for tool in body.tools or ())
    called = () if last == "tool" else tools[:2] if "both" in _last_text(body) else tools[:1]
    wish = _wish(body.options or Options(), body.format, called)
    return LinesAnswer(context, model, prompt, wish, thinks=bool(body.think), stream=body.stream, chat=True)


def _last_text(body: ChatBody) -> str:
    """The last message: with the word "both" it is answered with two calls, since nothing else asks for that."""
    return body.messages[-1].content if body.messages else ""


def plan_generate(context: Context, body: GenerateBody) -> Answer:
    """Plans the answer to a bare prompt. Raises RefusedError."""
    model = served_model(context, body.model)
    prompt = utf8(body.system) + utf8(body.prompt) + _pictures(body.images)
    wish = _wish(body.options or Options(), body.format, ())
    return LinesAnswer(context, model, prompt, wish, thinks=bool(body.think), stream=body.stream, chat=False)


def plan_embed(context: Context, body: EmbedBody) -> Fixed:
    """One vector for each text."""
    model = served_model(context, body.model)
    texts = [utf8(text) for text in ([body.input] if isinstance(body.input, str) else body.input)]
    size = body.dimensions or context.options.dimensions
    if not 1 <= size <= MOST_DIMENSIONS:
        raise RefusedError(400, "dimensions out of range")
    tree = {
        "model": context.shown_model(model),
        "embeddings": [embed(text, size, context.options.seed).tolist() for text in texts],
        "total_duration": 1_000_000,
        "load_duration": 1_000,
        "prompt_eval_count": sum(prompt_tokens(text) for text in texts),
    }
    return fixed_json(b"".join(texts), tree)


def plan_show(context: Context, body: ShowBody) -> Fixed:
    """What is known of a model."""
    served_model(context, body.model)
    abilities = ["completion", "tools", "vision", "thinking", "embedding"]
    return fixed_json(b"", {"details": {"family": "mock"}, "model_info": {}, "capabilities": abilities})


def _wish(options: Options, form: str | dict[str, Any] | None, tools: tuple[Tool, ...]) -> Wish:
    limit = options.num_predict if options.num_predict is not None and options.num_predict >= 0 else None
    schema = form if isinstance(form, dict) else {} if form == "json" else None
    if isinstance(form, str) and form not in ("", "json"):
        raise RefusedError(400, f'invalid format: "{form}"; expected "json" or a valid JSON Schema object')
    return Wish(limit=limit, stops=tuple(options.stop or ()), schema=schema, tools=tools, seed=options.seed)


def _render(message: Message) -> bytes:
    calls = msgspec.json.encode(message.tool_calls) if message.tool_calls else b""
    return b"<%b>%b%b%b\n" % (utf8(message.role), utf8(message.content), _pictures(message.images), calls)


def _pictures(images: list[str] | None) -> bytes:
    return b"".join(image_bytes(utf8(image)) for image in images or ())


class LinesAnswer(Answer):
    """A chat message or a generated text, with what it took behind it."""

    stream_type = LINES

    def __init__(
        self, context: Context, model: str, prompt: bytes, wish: Wish, *, thinks: bool, stream: bool | None, chat: bool
    ) -> None:
        self.prompt = prompt
        self.streamed = stream is not False
        self._draft: Draft = draft_all(context, prompt, wish)[0]
        self._thoughts = compose(digest("thoughts", prompt), THOUGHTS if thinks else 0)
        self.steps = self.tokens = len(self._thoughts) + self._draft.tokens
        self._fault = context.fault
        self._chat = chat
        made = datetime.fromtimestamp(context.created, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._frame = {"model": context.shown_model(model), "created_at": f"{made}.{context.number:09}Z"}

    def body(self, cached: int) -> bytes:
        calls = [
            _call(number, call, self._fault.unlabelled_tool_calls) for number, call in enumerate(self._draft.calls)
        ]
        said = self._said(self._draft.text, "".join(self._thoughts), calls)
        return msgspec.json.encode({**self._frame, **said, **self._end(self.tokens)})

    def events(self, cached: int) -> Iterator[Event]:
        for step, piece in enumerate(self._thoughts):
            yield self._line(step, self._said("", piece, []), 1, None)
        begin = len(self._thoughts)
        for step, piece in enumerate(self._draft.pieces, begin):
            yield self._line(step, self._said(piece, "", []), 1, piece)
        at = begin - 1
        for number, call in enumerate(self._draft.calls):
            at += len(call.pieces)
            shown = self._said("", "", [_call(number, call, self._fault.unlabelled_tool_calls)])
            yield self._line(at, shown, len(call.pieces), call.arguments)
        last = {**self._frame, **self._said("", "", []), **self._end(self.tokens)}
        yield Event(msgspec.json.encode(last), step=self.last_step)

    def _line(self, step: int, said: dict[str, Any], tokens: int, content: str | None) -> Event:
        shown = None if content is None else (0, content)
        return Event(msgspec.json.encode({**self._frame, **said, "done": False}), None, step, tokens, shown)

    def _said(self, text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
        if not self._chat:
            return {"response": text} | ({"thinking": thinking} if thinking else {})
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if calls:
            message["tool_calls"] = calls
        return {"message": message}

    def _end(self, sent: int) -> dict[str, Any]:
        usage = Usage(self.prompt_tokens, 0, sent)
        shape = self._fault.usage
        counts = {} if shape == "none" else bend(ollama_usage(usage), shape) or {}
        finish = self._fault.finish or FINISH[self._draft.finish]
        took = {"total_duration": 5_000_000, "load_duration": 1_000_000}
        return {"done": True, "done_reason": finish, **took, **counts}

    def failure(self) -> Event:
        return Event(error_body("/api/", BROKEN))


def _call(number: int, call: Call, unlabelled: bool) -> dict[str, Any]:
    function = {"index": number, "name": call.name, "arguments": msgspec.json.decode(call.arguments)}
    if unlabelled:
        del function["index"]
        return {"function": function}
    return {"id": call.id, "function": function}
