"""A chat-completions request as a Messages request. Pure.

System and developer messages become `system`, in their order; messages of one side in a row become one; results of
tools are the user's. What cannot be said is refused (`backends.dialects.chat`).
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

from backends.dialects.chat import ChatCall, Message, Part, ToolSpec, read_chat, split_image, text_of
from backends.dialects.dialect import Refused
from backends.dialects.raw import ABSENT, is_given

#: Tokens of an answer where neither the caller nor the price list says how many: the API wants a number.
MAX_TOKENS = 4096
#: The tool that stands for `response_format: json_object`, which the API has no other word for.
JSON_TOOL = "json_object"
CARRIED = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "thinking",
    }
)
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")
Block = dict[str, Any]


class Asked(msgspec.Struct, frozen=True):
    """What of a request its answer depends on. as_text: the arguments of the only tool are the answer's text."""

    streamed: bool
    wants_usage: bool
    as_text: bool


def write_request(body: bytes, max_output: int) -> tuple[bytes, Asked]:
    """The Messages request for a chat-completions body. max_output: of the model, 0 if not known. Raises Refused."""
    chat = read_chat(body, CARRIED, "Anthropic")
    tree: dict[str, Any] = {"model": chat.model, "max_tokens": chat.limit or max_output or MAX_TOKENS}
    system, tree["messages"] = _split_messages(chat.messages)
    if system:
        tree["system"] = system if len(system) > 1 else system[0]["text"]
    tree |= _sampling(chat)
    if chat.stops:
        tree["stop_sequences"] = chat.stops
    if chat.stream:
        tree["stream"] = True
    _add_tools(tree, chat)
    as_text = _add_format(tree, chat)
    _add_reasoning(tree, chat)
    return msgspec.json.encode(tree), Asked(chat.stream is True, chat.wants_usage, as_text)


def _sampling(chat: ChatCall) -> dict[str, Any]:
    """How tokens are chosen. 1 is the default here as there, and models that take no such field refuse to be told."""
    if chat.temperature is not None and chat.temperature > 1:
        raise Refused("temperature goes from 0 to 1 in the Anthropic API. Send at most 1.", "temperature")
    values = {"temperature": chat.temperature, "top_p": chat.top_p}
    sampling: dict[str, Any] = {name: value for name, value in values.items() if value is not None and value != 1}
    return sampling if chat.top_k is None else sampling | {"top_k": chat.top_k}


# -- messages


def _split_messages(messages: list[Message]) -> tuple[list[Block], list[Block]]:
    """The blocks of `system`, and the turns."""
    system: list[Block] = []
    turns: list[Block] = []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if message.role in ("system", "developer"):
            text = text_of(message.content, f"{where}.content")
            system += [{"type": "text", "text": text}] if text else []
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, where)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return system, turns


def _blocks(message: Message, where: str) -> list[Block]:
    if message.role == "user":
        return _parts(message.content, f"{where}.content")
    if message.role == "assistant":
        return _said(message, where)
    if message.role == "tool":
        result: Block = {"type": "tool_result", "tool_use_id": _tool_id(message.tool_call_id or "")}
        content = _parts(message.content, f"{where}.content")
        plain = len(content) == 1 and content[0]["type"] == "text"
        return [result | ({"content": content[0]["text"] if plain else content} if content else {})]
    raise Refused(f"{where}.role has no equivalent in the Anthropic API.", f"{where}.role")


def _parts(content: str | list[Part] | None, where: str) -> list[Block]:
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks = [_part(part, f"{where}[{i}]") for i, part in enumerate(content)]
    return [block for block in blocks if block.get("text") != ""]  # the API refuses an empty text


def _part(part: Part, where: str) -> Block:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    if part.type != "image_url":
        raise Refused(f"{where}: content of type {part.type[:40]} cannot be sent to the Anthropic API.", where)
    media, data = split_image(part, f"{where}.image_url")
    if not media:
        return {"type": "image", "source": {"type": "url", "url": data}}
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def _said(message: Message, where: str) -> list[Block]:
    """What an assistant said before: its text, then its calls."""
    if is_given(message.function_call) or is_given(message.audio):
        raise Refused(f"{where} holds a function_call or audio, which the Anthropic API does not know.", where)
    text = text_of(message.content, f"{where}.content") or message.refusal or ""
    blocks: list[Block] = [{"type": "text", "text": text}] if text else []
    for i, call in enumerate(message.tool_calls or ()):
        place = f"{where}.tool_calls[{i}]"
        if call.function is None:
            raise Refused(f"{place} is not a call of a function.", place)
        arguments = _arguments(call.function.arguments, place)
        blocks.append({"type": "tool_use", "id": _tool_id(call.id), "name": call.function.name, "input": arguments})
    return blocks


def _arguments(text: str, where: str) -> Raw:
    """The arguments of an earlier call, which the API wants as an object."""
    try:
        if not text.strip():
            return Raw(b"{}")
        msgspec.json.decode(text, type=dict[str, Raw])
    except msgspec.DecodeError as error:
        message = f"{where}.function.arguments must be a JSON object for the Anthropic API."
        raise Refused(message, f"{where}.function.arguments") from error
    return Raw(text.encode())


def _tool_id(ident: str) -> str:
    """A call's id as the API takes it: other servers' may hold dots and colons. The same for a call and its result."""
    return _FOREIGN.sub("_", ident)


# -- tools, formats, reasoning


def _add_tools(tree: dict[str, Any], chat: ChatCall) -> None:
    if not chat.tools:
        return
    tree["tools"] = [_tool(spec, f"tools[{i}]") for i, spec in enumerate(chat.tools)]
    choice = _tool_choice(chat)
    if chat.parallel_tool_calls is not None and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": not chat.parallel_tool_calls}
    if choice:
        tree["tool_choice"] = choice


def _tool(spec: ToolSpec, where: str) -> Block:
    function = spec.function
    if function is None:
        raise Refused(f"{where} is not a function, the only kind that can be sent to the Anthropic API.", where)
    tool: Block = {"name": function.name, "input_schema": _parameters(function.parameters, where)}
    if function.description:
        tool["description"] = function.description
    if function.strict:
        tool["strict"] = True
    return tool


def _parameters(schema: Raw, where: str) -> dict[str, Any]:
    """A tool's parameters with the type that the API wants said."""
    if not is_given(schema):
        return {"type": "object", "properties": {}}
    try:
        return {"type": "object", **msgspec.json.decode(schema, type=dict[str, Raw])}
    except msgspec.ValidationError as error:
        raise Refused(f"{where}.function.parameters must be an object.", f"{where}.function.parameters") from error


def _tool_choice(chat: ChatCall) -> Block:
    choice = chat.tool_choice
    if choice is None:
        return {}
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise Refused("tool_choice must be none, auto, required or a function.", "tool_choice")
        return {"type": _CHOICES[choice]}
    if choice.function is None:
        raise Refused("tool_choice can only name a function in the Anthropic API.", "tool_choice")
    return {"type": "tool", "name": choice.function.name}


def _add_format(tree: dict[str, Any], chat: ChatCall) -> bool:
    """The form of the answer. True: it will come as the arguments of a tool."""
    wanted = chat.response_format
    if wanted is None or wanted.type == "text":
        return False
    if wanted.type == "json_schema":
        schema = wanted.json_schema.schema if wanted.json_schema is not None else ABSENT
        if not is_given(schema):
            raise Refused("response_format.json_schema needs a schema.", "response_format.json_schema.schema")
        tree["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return False
    if chat.tools or chat.reasoning_effort not in (None, "none"):
        message = "response_format json_object goes with neither tools nor reasoning in the Anthropic API: "
        raise Refused(message + "send a json_schema.", "response_format")
    description = "Gives the answer as a JSON object. Its arguments are the whole answer."
    tree["tools"] = [{"name": JSON_TOOL, "description": description, "input_schema": {"type": "object"}}]
    tree["tool_choice"] = {"type": "tool", "name": JSON_TOOL}
    return True


def _add_reasoning(tree: dict[str, Any], chat: ChatCall) -> None:
    effort = chat.reasoning_effort
    if effort == "none":
        tree["thinking"] = {"type": "disabled"}
    elif effort is not None:
        if effort not in _EFFORTS:
            raise Refused(f"reasoning_effort must be none or one of {', '.join(_EFFORTS)}.", "reasoning_effort")
        tree.setdefault("output_config", {})["effort"] = _EFFORTS[effort]
        tree["thinking"] = {"type": "adaptive"}
    if is_given(chat.thinking):
        tree["thinking"] = chat.thinking
