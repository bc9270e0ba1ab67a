"""A chat-completions request, read whole, as translations need it: its fields, messages, tools and formats.

Owns the rule for what a dialect has no word for. A field that would change the answer is refused by name; one that
does not (`HINTS`), or that asks for what happens anyway (`_NEUTRAL`), is dropped. Fields that nobody knows may mean
anything, and are refused too. Nothing in a request is trusted beyond what `openai.decode` has checked. Pure.
"""

from collections.abc import Set
from typing import Any, Literal

import msgspec
from msgspec import Raw

from backends.dialects.dialect import Refused
from backends.dialects.raw import ABSENT, is_given

#: Fields that do not change what is answered: who asks, what for, how it is billed, cached or padded.
HINTS = frozenset(
    {
        "user",
        "metadata",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "service_tier",
        "prediction",
        "seed",  # best effort even at OpenAI
        "stream_options",
    }
)
#: What asks for nothing: the same as leaving the field out.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "store": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "verbosity": ("medium",),
    "reasoning_effort": ("none",),
    "tools": ([],),
    "stop": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
}


class ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class Part(msgspec.Struct):
    """One part of a message's content; which of the fields are there depends on `type`."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None
    refusal: str | None = None
    input_audio: Raw = ABSENT
    file: Raw = ABSENT


class GoogleContent(msgspec.Struct):
    thought_signature: str | None = None


class ExtraContent(msgspec.Struct):
    """What a provider gave with a call and wants back with it."""

    google: GoogleContent | None = None


class Function(msgspec.Struct):
    name: str
    arguments: str = ""


class ToolCall(msgspec.Struct):
    id: str
    function: Function | None = None
    type: str = "function"
    extra_content: ExtraContent | None = None


class Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    name: str | None = None
    reasoning_content: str | None = None
    function_call: Raw = ABSENT
    audio: Raw = ABSENT


class ToolFunction(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Raw = ABSENT
    strict: bool | None = None


class ToolSpec(msgspec.Struct):
    type: str
    function: ToolFunction | None = None


class NamedFunction(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct):
    type: str
    function: NamedFunction | None = None


class JsonSchema(msgspec.Struct):
    name: str = "answer"
    schema: Raw = ABSENT
    description: str | None = None
    strict: bool | None = None


class Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatCall(msgspec.Struct):
    """The fields that some dialect carries. null is the same as absent."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: str | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    reasoning_effort: str | None = None
    n: int | None = None
    thinking: Raw = ABSENT  # Anthropic's own, which callers of many gateways send along

    @property
    def limit(self) -> int | None:
        """Most tokens of the answer, as the caller said."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        """Texts that end the answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def wants_usage(self) -> bool:
        """Whether the stream is to end with a chunk of usage."""
        return self.stream_options is not None and self.stream_options.include_usage is True


#: Fields that every dialect has a word for.
PLAIN = frozenset({"model", "messages", "stream", "max_tokens", "max_completion_tokens"})

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_CALL = msgspec.json.Decoder(ChatCall)


def read_chat(body: bytes, carried: Set[str], dialect: str) -> ChatCall:
    """The request in `body`. carried: the fields that this dialect has a word for, beside `PLAIN`. Raises Refused."""
    try:
        for name, value in _MEMBERS.decode(body).items():
            if name not in PLAIN and name not in carried and name not in HINTS and not _is_neutral(name, value):
                raise Refused(f"{name[:100]} has no equivalent in the {dialect} API. Leave it out.", name[:100])
        return _CALL.decode(body)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        param = place.rstrip("`").replace("[...]", "")
        raise Refused(f"{param or 'The body'}: {reason}.", param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("The body is not acceptable JSON.", "") from error


def text_of(content: str | list[Part] | None, where: str) -> str:
    """Content that can only be text: instructions, what an assistant said. Raises Refused."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = [part.text if part.type == "text" else part.refusal if part.type == "refusal" else None for part in content]
    if None in texts:
        raise Refused(f"{where} can hold only text.", where)
    return "".join(text for text in texts if text is not None)


def split_image(part: Part, where: str) -> tuple[str, str]:
    """(media type, base64) of a data URL; ("", URL) for an image elsewhere. Raises Refused."""
    found = part.image_url
    url = found if isinstance(found, str) else found.url if found is not None else ""
    if url[:5].lower() != "data:":
        if not url.startswith(("https://", "http://")):
            raise Refused(f"{where} must be an image's https or data URL.", where)
        return "", url
    head, comma, data = url[5:].partition(",")
    media, *attributes = head.split(";")
    if not comma or "base64" not in (attribute.strip().lower() for attribute in attributes):
        raise Refused(f"{where}: a data URL must hold base64.", where)
    return media.strip().lower(), data


def _is_neutral(name: str, value: Raw) -> bool:
    """Whether a field asks for what is the case without it."""
    return not is_given(value) or (name in _NEUTRAL and msgspec.json.decode(value) in _NEUTRAL[name])
