"""What `/api/chat` says, read: a whole answer, or a line of a stream. Pure.

Nothing in it is trusted: what cannot be read is a BadAnswer.
"""

from typing import Any

import msgspec
from msgspec import Raw

from backends.dialects.billable import find_usage
from backends.dialects.chunks import Call
from backends.dialects.dialect import BadAnswer
from backends.dialects.raw import ABSENT
from backends.dialects.tooltext import as_text
from backends.dialects.totals import usage_of_reports

#: Why an answer ended, in OpenAI's words. Every other reason ("load", "unload") is none that an answer ends for.
_FINISHED = {"stop": "stop", "length": "length"}


class Function(msgspec.Struct):
    name: str
    arguments: Raw = ABSENT


class ToolCall(msgspec.Struct):
    function: Function
    id: str | None = None


class Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[ToolCall] | None = None


class Line(msgspec.Struct):
    """A whole answer, or a line of a stream."""

    model: str = ""
    message: Message | None = None
    done: bool = False
    done_reason: str | None = None
    error: Raw = ABSENT


_LINE = msgspec.json.Decoder(Line)


def read_line(data: bytes) -> Line:
    """Raises BadAnswer."""
    try:
        return _LINE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"not an answer of Ollama's: {error}") from error


def finish_of(line: Line, calls: int) -> str | None:
    """OpenAI's finish_reason of a last line; None: there is none for it. calls: tools that were called."""
    finish = _FINISHED.get(line.done_reason or "")
    return "tool_calls" if finish == "stop" and calls else finish


def call_of(call: ToolCall, ident: str) -> Call:
    """A tool call. ident: for one that was given none. Raises BadAnswer."""
    arguments = as_text(call.function.arguments)
    if arguments is None:
        raise BadAnswer("a call's arguments are no object")
    return Call(call.id or ident, call.function.name, arguments)


def usage_in(data: bytes) -> dict[str, Any] | None:
    """OpenAI's usage for the counts in an answer or a last line, None when there are none."""
    report = find_usage(data)
    return None if report is None else usage_of_reports(report)
