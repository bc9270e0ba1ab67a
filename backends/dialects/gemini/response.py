"""What `generateContent` answers, read: candidates, their parts, why they ended, why there are none. Pure.

Nothing in it is trusted: what cannot be read is a BadAnswer.
"""

from typing import Any

import msgspec
from msgspec import Raw

from backends.dialects.billable import find_usage
from backends.dialects.chunks import Call
from backends.dialects.dialect import BadAnswer
from backends.dialects.raw import ABSENT, is_given
from backends.dialects.tooltext import as_text
from backends.dialects.totals import usage_of_reports

#: Why a candidate ended, in OpenAI's words. Every other reason is a failure of the model, and told as one.
_FINISHED = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length"}
_WITHHELD = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
    }
)
MOST_CANDIDATES = 128


class FunctionCall(msgspec.Struct):
    name: str
    args: Raw = ABSENT
    id: str | None = None


class Part(msgspec.Struct, rename="camel"):
    """A piece of an answer. Of what chat completions cannot carry only the presence is read."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Raw = ABSENT
    file_data: Raw = ABSENT
    executable_code: Raw = ABSENT
    code_execution_result: Raw = ABSENT


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None
    index: int = 0

    @property
    def parts(self) -> list[Part]:
        found = self.content.parts if self.content is not None else None
        return found or []


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class Response(msgspec.Struct, rename="camel"):
    """A whole answer, or one event of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Raw = ABSENT
    usage_metadata: Raw = ABSENT

    @property
    def blocked(self) -> bool:
        """Whether the prompt was refused, and nothing answered."""
        return not self.candidates and self.prompt_feedback is not None and bool(self.prompt_feedback.block_reason)


_RESPONSE = msgspec.json.Decoder(Response)


def read_response(data: bytes) -> Response:
    """Raises BadAnswer."""
    try:
        response = _RESPONSE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"not an answer of Gemini's: {error}") from error
    for candidate in response.candidates or ():
        if not 0 <= candidate.index < MOST_CANDIDATES:
            raise BadAnswer("a candidate's index out of range")
    return response


def finish_of(reason: str, calls: int) -> str | None:
    """OpenAI's finish_reason; None: the model failed. calls: tools that the candidate called."""
    if reason in _WITHHELD:
        return "content_filter"
    finish = _FINISHED.get(reason)
    return "tool_calls" if finish == "stop" and calls else finish


def carried(part: Part) -> bool:
    """Whether chat completions can say what it says."""
    others = (part.inline_data, part.file_data, part.executable_code, part.code_execution_result)
    return not any(is_given(other) for other in others)


def call_of(part: Part, ident: str) -> Call | None:
    """The tool call of a part, None when it has none. ident: for a call that was given none. Raises BadAnswer."""
    called = part.function_call
    if called is None:
        return None
    args = as_text(called.args)
    if args is None:
        raise BadAnswer("a call's arguments are no object")
    extra = {"google": {"thought_signature": part.thought_signature}} if part.thought_signature else None
    return Call(called.id or ident, called.name, args, extra)


def usage_in(data: bytes, silent: bool) -> dict[str, Any] | None:
    """OpenAI's usage for the counts in an answer or event, None when there are none.

    silent: nothing was said, so that a count of the answer that is missing is a zero, which Google leaves out.
    """
    report = find_usage(data)
    usage = None if report is None else usage_of_reports(report)
    if usage is not None and silent and "completion_tokens" not in usage and "prompt_tokens" in usage:
        usage |= {"completion_tokens": 0, "total_tokens": usage["prompt_tokens"]}
    return usage
