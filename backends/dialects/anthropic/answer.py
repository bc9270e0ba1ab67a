"""A whole message as a chat completion. Unknown blocks and fields are ignored. Pure."""

import msgspec
from msgspec import Raw

from backends.dialects.anthropic.failure import retell
from backends.dialects.anthropic.request import Asked
from backends.dialects.chunks import Call, Whole
from backends.dialects.dialect import BadAnswer, Failed
from backends.dialects.raw import ABSENT, text_or
from backends.dialects.totals import usage_of_reports

#: Why an answer ended, in OpenAI's words. A reason that is not here keeps its own name: it is never called `stop`.
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Block(msgspec.Struct):
    """One block of content; which of the fields are there depends on `type`."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw = ABSENT


class Message(msgspec.Struct):
    type: str = ""
    id: str = ""
    model: str = ""
    content: list[Block] = []
    stop_reason: str | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT


_MESSAGE = msgspec.json.Decoder(Message)


def read_answer(body: bytes, asked: Asked, created: int, ident: str) -> bytes:
    """The chat completion for a message. Raises BadAnswer, and Failed for an error object."""
    try:
        message = _MESSAGE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"not a message: {error}") from error
    if message.type == "error":
        raise Failed(retell(body))
    if message.type != "message" or message.stop_reason is None:
        raise BadAnswer("an object that is no finished message")
    calls = [_call(block) for block in message.content if block.type == "tool_use"]
    text: str | None = "".join(block.text for block in message.content if block.type == "text")
    finish = finish_of(message.stop_reason, asked)
    if asked.as_text:
        text, calls = "".join(call.arguments for call in calls), []
    return Whole(
        id=completion_id(message.id, ident),
        created=created,
        model=message.model,
        text=None if calls and not text else text,
        reasoning="".join(block.thinking for block in message.content if block.type == "thinking"),
        calls=calls,
        finish=finish,
        usage=usage_of_reports(bytes(message.usage)),
    ).encode()


def finish_of(reason: str, asked: Asked) -> str:
    """OpenAI's `finish_reason` for a stop reason."""
    if asked.as_text and reason == "tool_use":
        return "stop"
    return FINISH.get(reason, reason)


def completion_id(message_id: str, ident: str) -> str:
    """OpenAI's id for a message's."""
    return "chatcmpl-" + (message_id.removeprefix("msg_") or ident)


def _call(block: Block) -> Call:
    return Call(block.id, block.name, text_or(block.input, "{}"))
