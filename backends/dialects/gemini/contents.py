"""OpenAI's messages as Gemini's contents. Pure.

System and developer messages become the system instruction, wherever they stand. Turns of one speaker become one
content, and so do the results of one answer's tool calls: Gemini wants as many as there were calls.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from backends.dialects.chat import Message, Part, ToolCall, split_image, text_of
from backends.dialects.dialect import Refused
from backends.dialects.raw import is_given
from backends.dialects.tooltext import as_object

#: Stands for the signature of a call that Gemini did not make, or whose caller lost it.
UNSIGNED = "skip_thought_signature_validator"

_SOUNDS = {"wav": "audio/wav", "mp3": "audio/mp3"}
_PICTURES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
}

Content = dict[str, Any]


class _Sound(msgspec.Struct):
    data: str  # base64
    format: str


class _File(msgspec.Struct):
    file_data: str  # a data URL


def make_contents(messages: list[Message], signed: bool) -> tuple[list[Content], list[Content]]:
    """(parts of the system instruction, contents). signed: this model wants a signature with calls. Raises Refused."""
    system: list[Content] = []
    contents: list[Content] = []
    names: dict[str, str] = {}  # of the functions called, by the call's id
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        match message.role:
            case "system" | "developer":
                system.append({"text": text_of(message.content, f"{where}.content")})
            case "user":
                _add(contents, "user", _user_parts(message, where))
            case "assistant":
                _add(contents, "model", _model_parts(message, names, signed, where))
            case "tool":
                _add(contents, "user", [_result(message, names, where)])
            case _:
                raise Refused(f"{where}.role: Gemini has no {message.role[:100]!r}.", f"{where}.role")
    if not contents:
        raise Refused("messages needs one of a user: Gemini takes no conversation of instructions only.", "messages")
    return system, contents


def _add(contents: list[Content], role: str, parts: list[Content]) -> None:
    if not parts:
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _user_parts(message: Message, where: str) -> list[Content]:
    content = message.content
    if content is None or isinstance(content, str):
        return [{"text": content or ""}]
    return [_part(part, f"{where}.content[{index}]") for index, part in enumerate(content)]


def _part(part: Part, where: str) -> Content:
    match part.type:
        case "text":
            return {"text": part.text or ""}
        case "image_url":
            return _picture(part, where)
        case "input_audio":
            return _sound(part, where)
        case "file":
            return _file(part, where)
    raise Refused(f"{where}: Gemini has no part of type {part.type[:100]!r}.", where)


def _sound(part: Part, where: str) -> Content:
    try:
        sound = msgspec.json.decode(part.input_audio, type=_Sound)
    except msgspec.ValidationError as error:
        raise Refused(f"{where}: input_audio needs data and format.", where) from error
    media = _SOUNDS.get(sound.format)
    if media is None:
        raise Refused(f"{where}: Gemini takes wav and mp3.", where)
    return {"inlineData": {"mimeType": media, "data": sound.data}}


def _file(part: Part, where: str) -> Content:
    try:
        file = msgspec.json.decode(part.file, type=_File)
    except msgspec.ValidationError as error:
        raise Refused(f"{where}: a file must be sent as file_data; an id means nothing to Gemini.", where) from error
    media, data = split_image(Part("image_url", image_url=file.file_data), where)
    if not media:
        raise Refused(f"{where}: file_data must be a data URL.", where)
    return {"inlineData": {"mimeType": media, "data": data}}


def _picture(part: Part, where: str) -> Content:
    """An image in the request, or one that Gemini fetches itself: the gateway fetches nothing."""
    media, found = split_image(part, where)
    if media:
        return {"inlineData": {"mimeType": media, "data": found}}
    if not found.startswith("https://"):
        raise Refused(f"{where}: Gemini fetches images over https only. Send it as a data URL.", where)
    media = _PICTURES.get(urlsplit(found).path.rpartition(".")[2].lower(), "")
    if not media:
        raise Refused(f"{where}: the URL's ending does not tell the image's type. Send it as a data URL.", where)
    return {"fileData": {"mimeType": media, "fileUri": found}}


def _model_parts(message: Message, names: dict[str, str], signed: bool, where: str) -> list[Content]:
    if is_given(message.function_call) or is_given(message.audio):
        raise Refused(f"{where} holds a function_call or audio. Use tool_calls and text.", where)
    text = text_of(message.content, f"{where}.content") or message.refusal
    parts: list[Content] = [{"text": text}] if text else []
    for index, call in enumerate(message.tool_calls or ()):
        place = f"{where}.tool_calls[{index}]"
        part = _call(call, place)
        names[call.id] = part["functionCall"]["name"]
        signature = _signature(call) or (UNSIGNED if signed and index == 0 else None)
        if signature is not None:
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _call(call: ToolCall, where: str) -> Content:
    if call.function is None:
        raise Refused(f"{where} must be a function's.", where)
    args = as_object(call.function.arguments or "{}")
    if args is None:
        raise Refused(f"{where}.function.arguments must be a JSON object.", f"{where}.function.arguments")
    return {"functionCall": {"name": call.function.name, "args": args, "id": call.id}}


def _signature(call: ToolCall) -> str | None:
    extra = call.extra_content
    return extra.google.thought_signature if extra is not None and extra.google is not None else None


def _result(message: Message, names: dict[str, str], where: str) -> Content:
    ident = message.tool_call_id or ""
    name = names.get(ident)
    if name is None:
        place = f"{where}.tool_call_id"
        raise Refused(f"{place} names no tool call of an earlier message.", place)
    text = text_of(message.content, f"{where}.content")
    return {"functionResponse": {"name": name, "id": ident, "response": as_object(text) or {"output": text}}}
