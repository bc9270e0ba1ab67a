"""Token usage of one answer, as the request path needs it: a few totals at once, the whole bill when somebody asks.

Owns the short way through the shape that nearly all answers have; every other one, and every word that a provider has
for a count, is `billable`'s, which says the same of the usual shape (a test holds the two together). Pure.
"""

from _native.answers import seven_numbers
from _native.jsonscan import JsonError, Numbers, frame_facts
from backends.dialects.billable import read_answer, read_billable
from scheduler.money import IMPOSSIBLE, Billable, Reading


class Usage:
    """Tokens of one answer. `prompt` and `answer` are all of each side, `cached` and `reasoning` parts of them.

    disputed: some count was impossible. A side that is not known is 0. parts: the same in full, None where the four
    totals say it all.
    """

    def __init__(
        self,
        prompt: int = 0,
        answer: int = 0,
        cached: int = 0,
        reasoning: int = 0,
        disputed: bool = False,
        prompt_known: bool = True,
        answer_known: bool = True,
        parts: Billable | None = None,
    ) -> None:
        self.prompt = prompt
        self.answer = answer
        self.cached = cached
        self.reasoning = reasoning
        self.disputed = disputed
        self.prompt_known = prompt_known
        self.answer_known = answer_known
        self.parts = parts

    def billable(self) -> Billable:
        """The same in full, as it is billed."""
        if self.parts is not None:
            return self.parts
        return Billable(self.prompt - self.cached, self.cached, 0, self.answer - self.reasoning, self.reasoning)

    def reading(self) -> Reading:
        """What the provider said."""
        return Reading(self.billable(), self.disputed, self.prompt_known, self.answer_known)


_IMPOSSIBLE = IMPOSSIBLE  # as a number of C
_USUAL = Numbers(
    (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details.cached_tokens",
        "completion_tokens_details.reasoning_tokens",
        "prompt_tokens_details.audio_tokens",
        "completion_tokens_details.audio_tokens",
    ),
    foreign="cache_",  # what a cache wrote, under any of its names
    barred=(  # counts under names that the usual shape does not have
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "completion_tokens_details.thinking_tokens",
        "prompt_eval_count",
        "eval_count",
        "input_tokens_details.cached_tokens",
        "output_tokens_details.reasoning_tokens",
        "prompt_cache_hit_tokens",
    ),
)


def usage_of(raw: bytes) -> Usage | None:
    """The tokens that a usage object counts, None when it says nothing."""
    return usage_at(raw, 0, len(raw))


def usage_at(text: bytes, start: int, end: int) -> Usage | None:
    """The same of an object that is a part of a text."""
    usual = _usual(text, start, end)
    return usual if usual is not None else usage_from(read_billable(text[start:end]))


def read_usage(data: bytes | None, head: bytes | None = None) -> Usage | None:
    """Usage in a JSON answer or event, wherever it stands; None when it says nothing.

    head: Anthropic's message_start, whose counts `data` (a message_delta) completes.
    """
    if head is None:
        if data is None:
            return None
        try:
            _, _, raw = frame_facts(data)
        except JsonError:
            raw = None
        if raw is not None:
            return usage_of(raw)
    return usage_from(read_answer(data, head))


def usage_from(found: Reading | None) -> Usage | None:
    """What was read or decided, in the form that a record keeps."""
    if found is None:
        return None
    parts = found.usage
    return Usage(
        parts.prompt,
        parts.answer,
        parts.cached,
        parts.reasoning,
        found.disputed,
        found.prompt_known,
        found.answer_known,
        parts,
    )


def _usual(text: bytes, start: int, end: int) -> Usage | None:
    """A usage object of OpenAI's chat API with nothing odd about it, read without building anything.

    None for all that is billed by more than the four totals: sound, written caches, reasoning beside the answer.
    """
    sound, taken, given, total, cached, reasoning, heard, spoken = seven_numbers(_USUAL, text, start, end)
    if not sound or taken < 0 or given < 0 or taken > _IMPOSSIBLE or given > _IMPOSSIBLE or heard > 0 or spoken > 0:
        return None
    if cached > taken or reasoning > given or (reasoning > 0 and total >= 0 and total != taken + given):
        return None
    return _told(taken, given, max(cached, 0), max(reasoning, 0))


def _told(prompt: int, answer: int, cached: int, reasoning: int) -> Usage:
    """The four totals, of which nothing is in dispute: `Usage(...)`, without objects for its arguments."""
    usage = Usage.__new__(Usage)
    usage.prompt, usage.answer, usage.cached, usage.reasoning = prompt, answer, cached, reasoning
    usage.disputed = False
    usage.prompt_known = usage.answer_known = True
    usage.parts = None
    return usage
