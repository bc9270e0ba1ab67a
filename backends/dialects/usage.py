"""Token usage as model servers report it, in any dialect, normalised and made safe to count with.

Nothing an upstream says is trusted: negative, fractional, huge or non-numeric counts are clamped and flagged. In the
result `input` includes cached tokens whatever the dialect (Anthropic's input_tokens excludes them).
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from _native.jsonscan import JsonError, Numbers, frame_facts

#: More tokens than any one request can have; beyond it a count is a lie.
IMPOSSIBLE = 100_000_000


class Usage:
    """Tokens of one answer; disputed: some count was impossible and was clamped to 0."""

    def __init__(
        self, input: int = 0, output: int = 0, cached: int = 0, reasoning: int = 0, disputed: bool = False
    ) -> None:
        self.input = input
        self.output = output
        self.cached = cached
        self.reasoning = reasoning
        self.disputed = disputed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage) and self._facts() == other._facts()

    def _facts(self) -> tuple[int, int, int, int, bool]:
        return self.input, self.output, self.cached, self.reasoning, self.disputed


Count = Annotated[int, Meta(ge=0, le=IMPOSSIBLE)] | None


class _Details(msgspec.Struct):
    cached_tokens: Count = None
    reasoning_tokens: Count = None


class _Counts(msgspec.Struct):
    """Every name that a count goes by: OpenAI's chat and Responses APIs, Anthropic's Messages."""

    prompt_tokens: Count = None
    input_tokens: Count = None
    completion_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Holder(msgspec.Struct):
    usage: Raw | UnsetType = UNSET


class _Answer(msgspec.Struct):
    response: _Holder | None = None
    message: Raw | UnsetType = UNSET


_TOKENS = _Counts.__struct_fields__[:6]
_USUAL = Numbers(
    (
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details.cached_tokens",
        "completion_tokens_details.reasoning_tokens",
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "input_tokens_details.cached_tokens",
        "output_tokens_details.reasoning_tokens",
    )
)
_NOTHING_ELSE = (None,) * 6
_ANSWER = msgspec.json.Decoder(_Answer)
_COUNTS = msgspec.json.Decoder(_Counts)


def usage_of(raw: bytes) -> Usage | None:
    """The tokens that a usage object counts, None when it says nothing."""
    usual = _usual(raw)
    if usual is not None:
        return usual
    counts = _counts(raw)
    if counts is None:
        return None
    usage = Usage()
    _add(usage, counts)
    return usage


def _usual(raw: bytes) -> Usage | None:
    """A usage object of OpenAI's chat API with nothing odd about it, read without building anything."""
    numbers = _USUAL.read(raw)
    if numbers is None or numbers[4:] != _NOTHING_ELSE:
        return None
    taken, given, cached, reasoning = numbers[0], numbers[1], numbers[2], numbers[3]
    if taken is None or given is None or taken > IMPOSSIBLE or given > IMPOSSIBLE:
        return None
    if (cached is not None and cached > IMPOSSIBLE) or (reasoning is not None and reasoning > IMPOSSIBLE):
        return None
    return Usage(taken, given, cached or 0, reasoning or 0)


def read_usage(data: bytes | None, head: bytes | None = None) -> Usage | None:
    """Usage in a JSON answer or event (top level, or under `response` / `message`), None when it says nothing.

    head: Anthropic's message_start, whose counts `data` (a message_delta) completes.
    """
    usage = Usage()
    found = False
    for text in (head, data):
        raw = _find(text) if text is not None else None
        counts = _counts(raw) if raw is not None else None
        if counts is not None:
            _add(usage, counts)
            found = True
    return usage if found else None


def _find(data: bytes) -> bytes | None:
    """The text of the usage object of an answer or event."""
    try:
        _, _, usage = frame_facts(data)
        return usage or _inner_usage(data)
    except (JsonError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _counts(raw: bytes) -> _Counts | None:
    """What a usage object says; all its counts unknown and `disputed` when one of them is impossible."""
    if raw == b"null":
        return None
    try:
        counts = _COUNTS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _salvage(raw)
    return counts if _says_something(counts) else None


def _inner_usage(data: bytes) -> bytes | None:
    """The usage object under `response` (Responses API) or `message` (Messages API)."""
    answer = _ANSWER.decode(data)
    raw = answer.response.usage if answer.response is not None else UNSET
    if raw is UNSET and answer.message is not UNSET and bytes(answer.message)[:1] == b"{":
        raw = msgspec.json.decode(answer.message, type=_Holder).usage
    return None if raw is UNSET else bytes(raw)


def _says_something(counts: _Counts) -> bool:
    return (
        counts.prompt_tokens is not None
        or counts.completion_tokens is not None
        or counts.input_tokens is not None
        or counts.output_tokens is not None
        or counts.cache_read_input_tokens is not None
        or counts.cache_creation_input_tokens is not None
    )


class _Disputed(_Counts):
    """Counts of a usage object in which some were impossible."""


def _salvage(raw: bytes) -> _Counts | None:
    """The believable counts of a usage object that is not wholly believable."""
    try:
        members = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return _Disputed()
    kept = _Disputed()
    if isinstance(members, dict):
        for name in _TOKENS:
            value = members.get(name)
            if type(value) is int and 0 <= value <= IMPOSSIBLE:
                setattr(kept, name, value)
    return kept


def _add(usage: Usage, found: _Counts) -> None:
    """Overlays counts: what a later event says replaces what an earlier one said."""
    taken = found.prompt_tokens if found.prompt_tokens is not None else found.input_tokens
    if taken is not None:
        read, made = found.cache_read_input_tokens or 0, found.cache_creation_input_tokens or 0
        details = found.prompt_tokens_details or found.input_tokens_details
        usage.input = taken + read + made
        usage.cached = read + ((details.cached_tokens or 0) if details is not None else 0)
    given = found.completion_tokens if found.completion_tokens is not None else found.output_tokens
    if given is not None:
        usage.output = given
    spent = found.completion_tokens_details or found.output_tokens_details
    if spent is not None:
        usage.reasoning = spent.reasoning_tokens or 0
    if type(found) is _Disputed:
        usage.disputed = True
