"""What a provider bills, read from what it reports: every dialect's usage made into one `Billable`.

Owns the names that counts go by, which of them contain which, and where in an answer or event they stand. Nothing that
an upstream says is trusted: what cannot be a count is dropped and `disputed`, what is too much is left for the
reservation to cap (`fastpath.money.sanity`). Counts in a stream are cumulative, so of several reports each count's
largest is taken, and a stream's last report gives what the whole answer would have given.

OpenAI's prompt and completion counts contain cached, audio and reasoning tokens; so do DeepSeek's, Moonshot's, Qwen's,
Zhipu's and vLLM's. Anthropic's input excludes what its cache read and wrote. Gemini's prompt contains cached tokens,
but neither the prompt of tools nor, in its candidates, the thoughts. xAI's completion excludes reasoning. Where two
servers differ, `total_tokens` tells which one it is. Pure.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from _native.jsonscan import JsonError, frame_facts
from scheduler.money import IMPOSSIBLE, Billable, Reading

Count = Annotated[int, Meta(ge=0, le=IMPOSSIBLE)] | None


class _Kept(msgspec.Struct):
    """Tokens written to a prompt cache, by how long they are kept."""

    ephemeral_5m_input_tokens: Count = None
    ephemeral_1h_input_tokens: Count = None


class _Details(msgspec.Struct):
    cached_tokens: Count = None
    cache_write_tokens: Count = None  # OpenAI Responses
    cache_creation_tokens: Count = None  # LiteLLM
    cache_creation_input_tokens: Count = None  # Qwen
    cache_creation: _Kept | None = None
    audio_tokens: Count = None
    reasoning_tokens: Count = None
    thinking_tokens: Count = None


class _Modality(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: Count = None


class _Chat(msgspec.Struct):
    """OpenAI's names and those of everyone who kept to them or to Anthropic's."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    input_tokens: Count = None
    output_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_creation: _Kept | None = None
    prompt_cache_hit_tokens: Count = None  # DeepSeek
    cached_tokens: Count = None  # Moonshot
    prompt_eval_count: Count = None  # Ollama
    eval_count: Count = None


class _Gemini(msgspec.Struct, rename="camel"):
    prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    thoughts_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    total_token_count: Count = None
    prompt_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None


class _Parts(msgspec.Struct):
    """A report in one vocabulary. None: it does not say. `fresh` is a prompt without, `prompt` one with its parts."""

    prompt: int | None = None
    fresh: int | None = None
    cached: int | None = None
    write: int | None = None
    write_long: int | None = None
    audio_input: int | None = None
    answer: int | None = None
    reasoning: int | None = None
    audio_output: int | None = None
    total: int | None = None


class _Answer(msgspec.Struct):
    """Where usage stands, when not at the top level of an answer or event."""

    response: Raw | UnsetType = UNSET  # Responses API events
    message: Raw | UnsetType = UNSET  # Anthropic's message_start
    usage_metadata: Raw | UnsetType = msgspec.field(default=UNSET, name="usageMetadata")  # Gemini
    choices: Raw | UnsetType = UNSET  # Moonshot: in the last chunk's choice
    x_groq: Raw | UnsetType = UNSET
    prompt_eval_count: Raw | UnsetType = UNSET  # Ollama: beside the answer itself
    eval_count: Raw | UnsetType = UNSET


class _Holder(msgspec.Struct):
    usage: Raw | UnsetType = UNSET


_CHAT = msgspec.json.Decoder(_Chat)
_GEMINI = msgspec.json.Decoder(_Gemini)
_ANSWER = msgspec.json.Decoder(_Answer)
_HOLDER = msgspec.json.Decoder(_Holder)
_HOLDERS = msgspec.json.Decoder(list[_Holder])
_OBJECTS = frozenset(
    (*(f"{side}_tokens_details" for side in ("prompt", "completion", "input", "output")), "cache_creation")
)
_LISTS = frozenset(("promptTokensDetails", "candidatesTokensDetails"))
_SILENT = _Parts()
_UNREADABLE = Reading(Billable(), disputed=True, prompt_known=False, answer_known=False)


def read_answer(data: bytes | None, head: bytes | None = None) -> Reading | None:
    """The usage in a whole answer or the last event that has one; None when there is none.

    head: Anthropic's message_start, whose counts `data` (a message_delta) completes.
    """
    reports = []
    for text in (head, data):
        if text is None:
            continue
        try:
            report = find_usage(text)
        except (JsonError, msgspec.DecodeError, UnicodeDecodeError):
            if b'"usage' in text:
                return _UNREADABLE
            continue
        if report is not None:
            reports.append(report)
    return read_billable(*reports)


def read_billable(*reports: bytes) -> Reading | None:
    """What one or more usage objects of the same answer say, in their order; None when they say nothing."""
    merged, disputed = None, False
    for report in reports:
        parts, doubtful = _read(report)
        merged = parts if merged is None else _merge(merged, parts)
        disputed = disputed or doubtful
    if merged is None or (merged == _SILENT and not disputed):
        return None
    return _reading(merged, disputed)


def find_usage(data: bytes) -> bytes | None:
    """The text of the usage object of an answer or event. Raises JsonError or msgspec.DecodeError: it is not JSON."""
    _, _, usage = frame_facts(data)
    if usage is not None:
        return usage
    if data.lstrip()[:1] != b"{":
        return None
    answer = _ANSWER.decode(data)
    if answer.usage_metadata is not UNSET:
        return bytes(answer.usage_metadata)
    if answer.prompt_eval_count is not UNSET or answer.eval_count is not UNSET:
        return b'{"prompt_eval_count":%b,"eval_count":%b}' % (
            b"null" if answer.prompt_eval_count is UNSET else bytes(answer.prompt_eval_count),
            b"null" if answer.eval_count is UNSET else bytes(answer.eval_count),
        )
    return _inner_usage(answer)


def _inner_usage(answer: _Answer) -> bytes | None:
    for raw in (answer.response, answer.message, answer.x_groq):
        if raw is not UNSET and bytes(raw)[:1] == b"{":
            usage = _HOLDER.decode(raw).usage
            if usage is not UNSET:
                return bytes(usage)
    if answer.choices is not UNSET and bytes(answer.choices)[:2] == b"[{":
        for choice in _HOLDERS.decode(answer.choices):
            if choice.usage is not UNSET and bytes(choice.usage) != b"null":
                return bytes(choice.usage)
    return None


def _read(report: bytes) -> tuple[_Parts, bool]:
    """The parts of one usage object, and whether something in it was impossible."""
    if report == b"null":
        return _Parts(), False
    gemini = b"TokenCount" in report
    try:
        return (_from_gemini(_GEMINI.decode(report)) if gemini else _from_chat(_CHAT.decode(report))), False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _salvage(report, gemini), True


def _from_chat(counts: _Chat) -> _Parts:
    taken = counts.prompt_tokens_details or counts.input_tokens_details
    given = counts.completion_tokens_details or counts.output_tokens_details
    prompt, fresh = _first(counts.prompt_tokens, counts.prompt_eval_count), None
    if prompt is None and (taken is not None or counts.cached_tokens is not None):
        prompt = counts.input_tokens
    elif prompt is None:
        fresh = counts.input_tokens
    parts = _Parts(
        prompt,
        fresh,
        cached=_first(counts.cache_read_input_tokens, counts.prompt_cache_hit_tokens, counts.cached_tokens),
        write=counts.cache_creation_input_tokens,
        answer=_first(counts.completion_tokens, counts.output_tokens, counts.eval_count),
        total=counts.total_tokens,
    )
    _keep_times(parts, counts.cache_creation)
    if taken is not None:
        _add_taken(parts, taken)
    if given is not None:
        parts.reasoning = _first(given.reasoning_tokens, given.thinking_tokens)
        parts.audio_output = given.audio_tokens
    return parts


def _add_taken(parts: _Parts, taken: _Details) -> None:
    """What the details of a prompt add. A proxy may say the same count twice, here and beside them."""
    parts.cached = _first(taken.cached_tokens, parts.cached)
    written = (taken.cache_write_tokens, taken.cache_creation_tokens, taken.cache_creation_input_tokens)
    parts.write = _first(*written, parts.write)
    parts.audio_input = taken.audio_tokens
    _keep_times(parts, taken.cache_creation)


def _keep_times(parts: _Parts, kept: _Kept | None) -> None:
    """Tells what was written for long from all that was written; `write` becomes the rest."""
    if kept is None or (kept.ephemeral_5m_input_tokens is None and kept.ephemeral_1h_input_tokens is None):
        return
    long = kept.ephemeral_1h_input_tokens or 0
    if parts.write is None:
        parts.write = kept.ephemeral_5m_input_tokens or 0
    else:
        parts.write = max(parts.write - long, kept.ephemeral_5m_input_tokens or 0)
    parts.write_long = long


def _from_gemini(counts: _Gemini) -> _Parts:
    prompt, answer = counts.prompt_token_count, counts.candidates_token_count
    tools, thoughts = counts.tool_use_prompt_token_count or 0, counts.thoughts_token_count or 0
    if answer is None and counts.thoughts_token_count is not None:
        answer = 0
    if answer is not None and counts.total_token_count != (prompt or 0) + tools + answer:
        answer += thoughts
    return _Parts(
        prompt=None if prompt is None else prompt + tools,
        cached=counts.cached_content_token_count,
        audio_input=_audio(counts.prompt_tokens_details),
        answer=answer,
        reasoning=counts.thoughts_token_count,
        audio_output=_audio(counts.candidates_tokens_details),
        total=None if counts.total_token_count is None or answer is None else counts.total_token_count,
    )


def _audio(details: list[_Modality] | None) -> int | None:
    found = [each.token_count or 0 for each in details or () if each.modality == "AUDIO"]
    return sum(found) if found else None


def _merge(into: _Parts, later: _Parts) -> _Parts:
    """`into` with what `later` adds. Cumulative counts never fall, so of each the larger is the later."""
    for name in _Parts.__struct_fields__:
        count, known = getattr(later, name), getattr(into, name)
        if count is not None and (known is None or count > known):
            setattr(into, name, count)
    return into


def _reading(parts: _Parts, disputed: bool) -> Reading:
    """The parts as they are billed: none overlaps another, and none exceeds what contains it."""
    cached, write, write_long = parts.cached or 0, parts.write or 0, parts.write_long or 0
    prompt = parts.prompt
    if prompt is None and (parts.fresh is not None or parts.cached is not None or parts.write is not None):
        prompt = (parts.fresh or 0) + cached + write + write_long
    answer = _answer_of(parts, prompt)
    reasoning = parts.reasoning or 0
    prompt_fits = prompt is None or cached + write + write_long <= prompt
    answer_fits = answer is None or reasoning <= answer
    left, cached = _take(prompt or 0, cached)
    left, write_long = _take(left, write_long)
    left, write = _take(left, write)
    left, audio_input = _take(left, parts.audio_input or 0)  # cached audio is in both counts
    spoken, reasoning = _take(answer or 0, reasoning)
    spoken, audio_output = _take(spoken, parts.audio_output or 0)
    usage = Billable(left, cached, write, spoken, reasoning, 0, write_long, audio_input, audio_output)
    return Reading(usage, disputed or not (prompt_fits and answer_fits), prompt is not None, answer is not None)


def _answer_of(parts: _Parts, prompt: int | None) -> int | None:
    """All tokens of the answer: as reported, with reasoning where that stands beside them, or what the total leaves."""
    answer, reasoning, total = parts.answer, parts.reasoning or 0, parts.total
    if answer is None:
        return max(total - prompt, 0) if total is not None and prompt is not None else None
    beside = total is not None and reasoning and total == (prompt or 0) + answer + reasoning
    return answer + reasoning if beside else answer


def _take(whole: int, part: int) -> tuple[int, int]:
    """`whole` without `part`, and as much of `part` as there was."""
    taken = min(whole, part)
    return whole - taken, taken


def _first(*counts: int | None) -> int | None:
    for count in counts:
        if count is not None:
            return count
    return None


def _salvage(report: bytes, gemini: bool) -> _Parts:
    """The believable counts of a usage object that is not wholly believable."""
    try:
        members = msgspec.json.decode(report)
        kept = _believable(members) if isinstance(members, dict) else {}
        return _from_gemini(msgspec.convert(kept, _Gemini)) if gemini else _from_chat(msgspec.convert(kept, _Chat))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Parts()


def _believable(members: dict[str, Any]) -> dict[str, Any]:
    """Counts that are counts, the huge ones cut to what no request can have; the objects and lists that hold some."""
    kept: dict[str, Any] = {}
    for name, value in members.items():
        if name in _OBJECTS:
            if isinstance(value, dict):
                kept[name] = _believable(value)
        elif name in _LISTS:
            if isinstance(value, list):
                kept[name] = [_believable(item) for item in value if isinstance(item, dict)]
        elif type(value) is int and value >= 0:
            kept[name] = min(value, IMPOSSIBLE)
        elif name == "modality" and isinstance(value, str):
            kept[name] = value
    return kept
