"""A chat-completions request as `/api/chat` takes it. Pure.

Ollama cuts a prompt that is too long for its context window, and forgets the beginning of a conversation while it
answers, without a word: both are switched off in the request, so that it is an error as it is elsewhere.
"""

from typing import Any

import msgspec

from backends.dialects.chat import ChatCall, Message, Part, ToolCall, ToolSpec, read_chat, split_image, text_of
from backends.dialects.dialect import Refused
from backends.dialects.raw import is_given
from backends.dialects.tooltext import as_object

NAME = "Ollama"

#: Fields of a chat-completions request that Ollama has a word for.
CARRIED = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
    }
)
_THINK: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_SCHEMA = "response_format.json_schema.schema"
Tree = dict[str, Any]


def read_request(body: bytes) -> ChatCall:
    """The caller's request. Raises Refused."""
    return read_chat(body, CARRIED, NAME)


def make_request(call: ChatCall) -> bytes:
    """The body. Raises Refused."""
    tree: Tree = {
        "model": call.model,
        "messages": _messages(call.messages),
        "stream": call.stream is True,
        "truncate": False,
        "shift": False,
    }
    tools = _tools(call)
    if tools:
        tree["tools"] = tools
    form = _format(call)
    if form is not None:
        tree["format"] = form
    if call.reasoning_effort is not None:
        tree["think"] = _think(call.reasoning_effort)
    options = _options(call)
    if options:
        tree["options"] = options
    return msgspec.json.encode(tree)


def _options(call: ChatCall) -> Tree:
    wanted: Tree = {
        "num_predict": call.limit,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "top_k": call.top_k,
        "seed": call.seed,
        "stop": call.stops or None,
        "presence_penalty": call.presence_penalty,
        "frequency_penalty": call.frequency_penalty,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _think(effort: str) -> bool | str:
    if effort not in _THINK:
        raise Refused(f"reasoning_effort: Ollama has {', '.join(_THINK)}.", "reasoning_effort")
    return _THINK[effort]


def _format(call: ChatCall) -> Any:
    form = call.response_format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return "json"
    if form.json_schema is None or not is_given(form.json_schema.schema):
        raise Refused(f"{_SCHEMA} is missing.", _SCHEMA)
    return form.json_schema.schema


def _tools(call: ChatCall) -> list[Tree]:
    """What the model is offered: nothing where it must not call. It cannot be made to call."""
    if call.tool_choice not in (None, "auto", "none"):
        raise Refused("tool_choice: Ollama lets the model choose. Leave it out, or send auto or none.", "tool_choice")
    if call.tool_choice == "none":
        return []
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(call.tools or ())]


def _tool(tool: ToolSpec, where: str) -> Tree:
    function = tool.function
    if function is None:
        raise Refused(f"{where}: Ollama is offered functions only.", where)
    offered: Tree = {"name": function.name, "description": function.description or ""}
    given = is_given(function.parameters)
    offered["parameters"] = function.parameters if given else {"type": "object", "properties": {}}
    return {"type": "function", "function": offered}


def _messages(messages: list[Message]) -> list[Tree]:
    names: dict[str, str] = {}  # of the functions called, by the call's id
    return [_message(message, names, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Message, names: dict[str, str], where: str) -> Tree:
    role = _ROLES.get(message.role)
    if role is None:
        raise Refused(f"{where}.role: Ollama has no {message.role[:100]!r}.", f"{where}.role")
    tree: Tree = {"role": role}
    if role == "user" and isinstance(message.content, list):
        tree |= _parts(message.content, f"{where}.content")
    else:
        tree["content"] = text_of(message.content, f"{where}.content") or message.refusal or ""
    if role == "assistant":
        tree |= _said(message, names, where)
    elif role == "tool":
        tree |= _result(message, names, where)
    return tree


def _parts(parts: list[Part], where: str) -> Tree:
    """Texts in their order; images stand beside them."""
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate(parts):
        place = f"{where}[{index}]"
        if part.type == "text":
            texts.append(part.text or "")
        elif part.type == "image_url":
            images.append(_image(part, place))
        else:
            raise Refused(f"{place}: Ollama has no part of type {part.type[:100]!r}.", place)
    tree: Tree = {"content": "\n".join(texts)}
    return tree | {"images": images} if images else tree


def _image(part: Part, where: str) -> str:
    media, data = split_image(part, where)
    if not media.startswith("image/"):
        raise Refused(f"{where}: Ollama fetches no images. Send it as a data URL.", where)
    return data


def _said(message: Message, names: dict[str, str], where: str) -> Tree:
    if is_given(message.function_call) or is_given(message.audio):
        raise Refused(f"{where} holds a function_call or audio. Use tool_calls and text.", where)
    tree: Tree = {}
    if message.reasoning_content:
        tree["thinking"] = message.reasoning_content
    calls = [_call(call, names, f"{where}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ())]
    if calls:
        tree["tool_calls"] = calls
    return tree


def _call(call: ToolCall, names: dict[str, str], where: str) -> Tree:
    if call.function is None:
        raise Refused(f"{where} must be a function's.", where)
    arguments = as_object(call.function.arguments or "{}")
    if arguments is None:
        raise Refused(f"{where}.function.arguments must be a JSON object.", f"{where}.function.arguments")
    names[call.id] = call.function.name
    return {"id": call.id, "function": {"name": call.function.name, "arguments": arguments}}


def _result(message: Message, names: dict[str, str], where: str) -> Tree:
    ident = message.tool_call_id or ""
    if ident not in names:
        place = f"{where}.tool_call_id"
        raise Refused(f"{place} names no tool call of an earlier message.", place)
    return {"tool_name": names[ident], "tool_call_id": ident}
